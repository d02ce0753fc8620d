"""Campaigns on texts and tables: every strategy that explains, on both engines."""

import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.recipes import QUIET, RUN_ENGINES, TEXT_ARMS, features_pool, queries, text_recipe
from xal.campaign.experiment import run_experiment
from xal.campaign.explain import explain_item, explain_text
from xal.data.pool import Pool
from xal.errors import DataError
from xal.explainers.shap_partition import ShapPartition
from xal.report.html import write_report
from xal.store.artefacts import EXPLANATIONS, read_explanations
from xal.store.run import Run, read_run


def where(run: Run, item: str) -> tuple[list[int]]:
    return ([each.row for each in run.queried if each.id == item],)


def test_texts_through_every_strategy(tmp_path: Path, text_pools: tuple[Path, Path]) -> None:
    run_experiment(text_recipe(*text_pools), tmp_path / "runs", QUIET)
    found = queries(tmp_path / "runs")
    assert len(found) == 6 and all(len(set(ids)) == 40 for ids in found.values())
    same = {"mispredicted-seed0": "random-seed0"}  # where no labelled item is mispredicted, the query is random
    assert len({tuple(ids) for name, ids in found.items() if name not in same}) == 5
    first = {tuple(ids[:20]) for ids in found.values()}
    assert len(first) == 1  # round 0 is the same in all arms
    run = read_run(tmp_path / "runs" / "alex-seed0")
    assert run.curve()[1][-1] > 0.7 and not (run.directory / "explained").exists()
    folder = run.directory / (run.of("query")[1].artefact or "")
    ids, explanations = read_explanations(folder / EXPLANATIONS)
    assert len(ids) == 10
    ShapPartition().check(explanations)
    page = write_report([run.directory], tmp_path / "report.html").read_text()
    assert 'class="text"' in page and "background:rgba(" in page
    page, line = explain_text(run.directory, "so good & <fine> word3")
    html = page.decode()
    assert "&amp;" in html and "&lt;" in html and "good" in line and line.split(": p = ")[0] in html
    same = explain_item(run.directory, ids[0])
    assert same == explain_text(
        run.directory, Pool.open(text_pools[0]).read(*where(run, ids[0]), ["text"])["text"][0].as_py()
    )
    both, lines = explain_text(run.directory, "so good & <fine> word3", every=True)
    assert html in both.decode() and both.decode().count("<h3>") == 2
    balance = [[float(part) for part in re.findall(r"[+-]?\d\.\d+", each.split(";")[-1])] for each in lines.split("\n")]
    assert [line for line in lines.split("\n") if line.startswith("good: p = ")] == [line]
    assert all(base + change == pytest.approx(output, abs=2e-3) for base, change, output in balance)
    with pytest.raises(DataError, match="has no item 'nobody'"):
        explain_item(run.directory, "nobody")


@pytest.mark.ray
def test_texts_on_ray_as_on_serial(tmp_path: Path, text_pools: tuple[Path, Path], ray_session: object) -> None:
    arms = {name: TEXT_ARMS[name] for name in ("disagreement", "alex")}
    run_experiment(text_recipe(*text_pools, arms=arms), tmp_path / "serial", QUIET)
    engine = {**RUN_ENGINES["ray"], "batch": 32}
    run_experiment(text_recipe(*text_pools, arms=arms, engine=engine), tmp_path / "ray", QUIET)
    assert queries(tmp_path / "ray") == queries(tmp_path / "serial")


@pytest.mark.parametrize(
    ("model", "explainer"),
    [
        ("logistic_regression", "shap_linear"),
        ("linear", "gradient_shap"),
        ("mlp", "lime"),
        ("linear", "shap_partition"),
    ],
)
def test_tables(tmp_path: Path, model: str, explainer: str) -> None:
    pool = features_pool(tmp_path / "pool.parquet", 150)
    arms = {name: TEXT_ARMS[name] for name in ("disagreement", "alex", "density")}
    given = text_recipe(
        pool, pool, model=model, explainer=explainer, arms=arms, train={"epochs": 3, "lr": 0.1, "threads": 1}
    )
    run_experiment(given, tmp_path / "runs", QUIET)
    assert all(len(set(ids)) == 40 for ids in queries(tmp_path / "runs").values())
    run = read_run(tmp_path / "runs" / "alex-seed0")
    assert "a = " in write_report([run.directory], tmp_path / "report.html").read_text()
    page, line = explain_item(run.directory, "row-003")
    assert page.decode().count("<tr>") == 4 and " = " in line


def changed(pool: Path, path: Path, column: str, values: Callable[[int, str], str]) -> Path:
    """The same pool with a column of other values, by position and what was there."""
    table = pq.read_table(pool)
    place = table.schema.get_field_index(column)
    new = [values(number, each) for number, each in enumerate(table[column].to_pylist())]
    pq.write_table(table.set_column(place, column, pa.array(new)), path)
    return path


def test_of_labels_that_are_mispredicted(tmp_path: Path, text_pools: tuple[Path, Path]) -> None:
    """Every fourth label is wrong, and a model that learned words does not give it."""
    other = {"good": "bad", "bad": "good"}
    noisy = changed(text_pools[0], tmp_path / "noisy.parquet", "label", lambda n, each: each if n % 4 else other[each])
    arms = {name: TEXT_ARMS[name] for name in ("random", "mispredicted", "labels")}
    run_experiment(text_recipe(noisy, text_pools[1], arms=arms), tmp_path / "runs", QUIET)
    found = queries(tmp_path / "runs")
    assert len({tuple(ids) for ids in found.values()}) == 3 and len({tuple(ids[:20]) for ids in found.values()}) == 1


def test_blank_texts_are_left_out(tmp_path: Path, text_pools: tuple[Path, Path]) -> None:
    blank = changed(
        text_pools[0], tmp_path / "blank.parquet", "text", lambda n, each: each if n % 50 else " \n"[: n // 50]
    )
    run_experiment(text_recipe(blank, text_pools[1], arms={"alex": "alex"}), tmp_path / "runs", QUIET)
    run = read_run(tmp_path / "runs" / "alex-seed0")
    missing = {f"text-0-{number:03d}" for number in (0, 50, 100, 150)}
    assert len(run.queried) == 40 and not missing & {item.id for item in run.queried}
    for call in (lambda: explain_text(run.directory, " "), lambda: explain_item(run.directory, "text-0-100")):
        with pytest.raises(DataError, match="the text is blank|item 'text-0-100' cannot be read"):
            call()
