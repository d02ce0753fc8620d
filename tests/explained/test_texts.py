"""Campaigns on texts and tables: every strategy that explains, both engines, annotation by file, explanations kept."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.recipes import RUN_ENGINES, features_pool, text_pool
from xal.campaign.experiment import run_experiment
from xal.campaign.explain import explain_item, explain_text
from xal.campaign.recipe import Recipe
from xal.core.config import parse
from xal.core.progress import Reporter
from xal.data.pool import Pool
from xal.engine import Serial
from xal.engine.coordinator import Coordinator
from xal.engine.tasks import ModelRef
from xal.errors import ConfigError, DataError, RunError
from xal.explainers.shap_partition import ShapPartition
from xal.report.html import write_report
from xal.store.artefacts import EXPLANATIONS, read_explanations
from xal.store.run import Run, read_run
from xal.types import Explanations

ARMS: dict[str, Any] = {
    "random": "random",
    "disagreement": {"name": "explanation_disagreement", "sample": 20},
    "mispredicted": {"name": "explanation_disagreement", "of": "mispredicted"},
    "labels": {"name": "explanation_disagreement", "of": "labels"},
    "alex": "alex",
    "density": {"name": "density_weighted", "clusters": 3},
}


def recipe(pool: Path, test: Path, **sections: Any) -> Recipe:
    mapping: dict[str, Any] = {
        "pool": {"source": str(pool), "test": str(test)},
        "model": {"name": "linear_svm", "encoder": "tfidf", "C": [1.0]},
        "explainer": "shap_partition",
        "arms": ARMS,
        "budget": {"initial": 20, "per_round": 10, "rounds": 2},
        "engine": {"name": "serial", "batch": 32},
    }
    found: Recipe = parse(Recipe, mapping | sections)
    return found


@pytest.fixture
def pools(tmp_path: Path) -> tuple[Path, Path]:
    return text_pool(tmp_path / "pool.parquet", 200, 0), text_pool(tmp_path / "test.parquet", 60, 1)


def where(run: Run, item: str) -> tuple[list[int]]:
    return ([each.row for each in run.queried if each.id == item],)


def queries(directory: Path) -> dict[str, list[str]]:
    return {path.name: [item.id for item in read_run(path).queried] for path in sorted(directory.glob("*-seed*"))}


def test_texts_through_every_strategy(tmp_path: Path, pools: tuple[Path, Path]) -> None:
    run_experiment(recipe(*pools), tmp_path / "runs", Reporter(quiet=True))
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
        run.directory, Pool.open(pools[0]).read(*where(run, ids[0]), ["text"])["text"][0].as_py()
    )
    both, lines = explain_text(run.directory, "so good & <fine> word3", every=True)
    assert html in both.decode() and both.decode().count("<h3>") == 2
    balance = [[float(part) for part in re.findall(r"[+-]?\d\.\d+", each.split(";")[-1])] for each in lines.split("\n")]
    assert [line for line in lines.split("\n") if line.startswith("good: p = ")] == [line]
    assert all(base + change == pytest.approx(output, abs=2e-3) for base, change, output in balance)
    with pytest.raises(DataError, match="has no item 'nobody'"):
        explain_item(run.directory, "nobody")


@pytest.mark.ray
def test_texts_on_ray_as_on_serial(tmp_path: Path, pools: tuple[Path, Path], ray_session: object) -> None:
    arms = {name: ARMS[name] for name in ("disagreement", "alex")}
    run_experiment(recipe(*pools, arms=arms), tmp_path / "serial", Reporter(quiet=True))
    engine = {**RUN_ENGINES["ray"], "batch": 32}
    run_experiment(recipe(*pools, arms=arms, engine=engine), tmp_path / "ray", Reporter(quiet=True))
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
    arms = {name: ARMS[name] for name in ("disagreement", "alex", "density")}
    given = recipe(
        pool, pool, model=model, explainer=explainer, arms=arms, train={"epochs": 3, "lr": 0.1, "threads": 1}
    )
    run_experiment(given, tmp_path / "runs", Reporter(quiet=True))
    assert all(len(set(ids)) == 40 for ids in queries(tmp_path / "runs").values())
    run = read_run(tmp_path / "runs" / "alex-seed0")
    assert "a = " in write_report([run.directory], tmp_path / "report.html").read_text()
    page, line = explain_item(run.directory, "row-003")
    assert page.decode().count("<tr>") == 4 and " = " in line


def test_a_batch_of_texts_is_annotated(tmp_path: Path, pools: tuple[Path, Path]) -> None:
    given = recipe(*pools, arms={"alex": "alex"}, annotator="file", budget={"initial": 10, "per_round": 5, "rounds": 1})
    run_experiment(given, tmp_path / "runs", Reporter(quiet=True))
    folder = tmp_path / "runs" / "alex-seed0" / "to-label" / "round-000"
    rows = list(csv.DictReader((folder / "batch.csv").open(encoding="utf-8")))
    texts = dict(zip(*Pool.open(pools[0]).read_span(0, 200, ["id", "text"]).to_pydict().values(), strict=True))
    assert len(rows) == 10 and all(texts[row["id"]] == row["text"] for row in rows)


def test_a_second_pass_computes_nothing(
    tmp_path: Path, pools: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is kept is of this model, this explainer with these settings, and this class of interest."""
    run_experiment(recipe(*pools, arms={"random": "random"}), tmp_path / "runs", Reporter(quiet=True))
    given = recipe(*pools)
    pool = Pool.open(pools[0])
    trained = [tmp_path / "runs" / "random-seed0" / f"round-00{n}" / "train" / "model.safetensors" for n in (1, 2)]
    earlier, open_trained_run = (
        ModelRef(model=given.model, weights=weights, version=str(n), shape=(), classes=2)
        for n, weights in enumerate(trained)
    )
    explained: list[int] = []
    plain = ShapPartition.explain
    monkeypatch.setattr(
        ShapPartition, "explain", lambda self, n, p, c=None: explained.append(len(p)) or plain(self, n, p, c)
    )
    kept, few = tmp_path / "kept", ShapPartition(max_evals=4)
    ids = [f"text-0-{number:03d}" for number in range(120)]
    of_one, of_other = (dict.fromkeys(ids, label) for label in (0, 1))

    def collect(rows: range, **changes: Any) -> Explanations:
        parts = {"model": open_trained_run, "explainer": given.explainer, "kept": kept} | changes
        of = parts.pop("explained", None)
        with Serial(batch=32).open() as session:
            coordinator = Coordinator(session=session, pool=pool, shape=(), **parts)
            found = coordinator.collect(np.array(rows), frozenset({"explanations"}), "explain", explained=of)
        assert found is not None and found.explanations is not None and len(found) == len(rows)
        return found.explanations

    def values(explanations: Explanations) -> Any:
        return explanations.attributions.toarray()

    collect(range(100))
    first = collect(range(50, 120))
    assert sum(explained) == 120  # 100, then the 20 that are new
    assert np.array_equal(values(first), values(collect(range(50, 120), kept=None)))
    explained.clear()
    for changes in ({"model": earlier}, {"explainer": few}, {"explained": of_one}):
        other = collect(range(50, 120), **changes)
        assert sum(explained) == 70 and not np.array_equal(values(other), values(first))
        assert np.array_equal(values(other), values(collect(range(50, 120), **changes)))
        assert sum(explained) == 70  # a second pass
        assert np.array_equal(values(other), values(collect(range(50, 120), **changes, kept=None)))
        explained.clear()
    assert not collect(range(50, 120), explained=of_one).explained_class.any()
    assert np.array_equal(values(collect(range(50, 120))), values(first)) and not explained
    assert collect(range(50, 60), kept=None, explained=of_other).explained_class.all()


def changed(pool: Path, path: Path, column: str, values: Callable[[int, str], str]) -> Path:
    """The same pool with a column of other values, by position and what was there."""
    table = pq.read_table(pool)
    place = table.schema.get_field_index(column)
    new = [values(number, each) for number, each in enumerate(table[column].to_pylist())]
    pq.write_table(table.set_column(place, column, pa.array(new)), path)
    return path


def test_of_labels_that_are_mispredicted(tmp_path: Path, pools: tuple[Path, Path]) -> None:
    """Every fourth label is wrong, and a model that learned words does not give it."""
    other = {"good": "bad", "bad": "good"}
    noisy = changed(pools[0], tmp_path / "noisy.parquet", "label", lambda n, each: each if n % 4 else other[each])
    arms = {name: ARMS[name] for name in ("random", "mispredicted", "labels")}
    run_experiment(recipe(noisy, pools[1], arms=arms), tmp_path / "runs", Reporter(quiet=True))
    found = queries(tmp_path / "runs")
    assert len({tuple(ids) for ids in found.values()}) == 3 and len({tuple(ids[:20]) for ids in found.values()}) == 1


def test_blank_texts_are_left_out(tmp_path: Path, pools: tuple[Path, Path]) -> None:
    blank = changed(pools[0], tmp_path / "blank.parquet", "text", lambda n, each: each if n % 50 else " \n"[: n // 50])
    run_experiment(recipe(blank, pools[1], arms={"alex": "alex"}), tmp_path / "runs", Reporter(quiet=True))
    run = read_run(tmp_path / "runs" / "alex-seed0")
    missing = {f"text-0-{number:03d}" for number in (0, 50, 100, 150)}
    assert len(run.queried) == 40 and not missing & {item.id for item in run.queried}
    for call in (lambda: explain_text(run.directory, " "), lambda: explain_item(run.directory, "text-0-100")):
        with pytest.raises(DataError, match="the text is blank|item 'text-0-100' cannot be read"):
            call()


def test_kinds_that_do_not_fit_are_refused(tmp_path: Path, pools: tuple[Path, Path]) -> None:
    for sections, problem in (
        ({"model": "convnet"}, "'convnet' takes image, the pool holds text"),
        ({"model": "linear_svm"}, "'linear_svm' takes features, the pool holds text"),
        ({"explainer": "ebano", "arms": {"random": "random"}}, "'ebano' explains image, the pool holds text"),
    ):
        with pytest.raises(ConfigError, match=problem):
            run_experiment(recipe(*pools, **sections), tmp_path / "runs", Reporter(quiet=True))


def test_an_arm_with_an_explainer_of_its_own(tmp_path: Path, pools: tuple[Path, Path]) -> None:
    arms = {"default": "explanation_disagreement", "tuned": "explanation_disagreement"}
    both = recipe(*pools, arms=arms, explainers={"tuned": {"name": "shap_partition", "max_evals": 4}})
    run_experiment(both, tmp_path / "runs", Reporter(quiet=True))
    evaluations = {
        path: read_run(tmp_path / "runs" / path).recipe["explainer"]["max_evals"] for path in queries(tmp_path / "runs")
    }
    assert evaluations == {"default-seed0": 500, "tuned-seed0": 4}
    default, tuned = queries(tmp_path / "runs").values()
    assert default[:20] == tuned[:20] and default != tuned
    run_experiment(both, tmp_path / "runs", Reporter(quiet=True), (0, 1))  # continues, refuses nothing
    run_experiment(both, tmp_path / "runs", Reporter(quiet=True), (2,))
    assert "tuned" in write_report(sorted((tmp_path / "runs").glob("*-seed*")), tmp_path / "report.html").read_text()
    with pytest.raises(RunError, match="tuned-seed0.*\n.*explainer.max_evals: 4 there, 500 here"):
        run_experiment(recipe(*pools, arms=arms), tmp_path / "runs", Reporter(quiet=True))
    with pytest.raises(ConfigError, match="strategy 'explanation_disagreement' needs explanations; name an explainer"):
        recipe(*pools, arms=arms, explainer=None)
    with pytest.raises(ConfigError, match="explainers: 'other' is no arm; arms: default, tuned"):
        recipe(*pools, arms=arms, explainers={"other": "lime"})
