"""The page on runs: what it says is what their ledgers hold, of images, texts and tables, in one file."""

import html
from pathlib import Path

import pytest

from tests.recipes import QUIET, colors_recipe, corrected_recipe, only_run, small, text_pool, text_recipe, write_pool
from xal.campaign.experiment import run_experiment
from xal.campaign.recipe import Recipe
from xal.errors import RunError
from xal.report.html import EXPLANATION_COLUMNS, arms_of, write_report
from xal.store.directory import run_directories
from xal.store.run import read_run


def image_recipe(tmp_path: Path) -> Recipe:
    return corrected_recipe(tmp_path, feedback={"name": "counterexamples", "shown": 20})


def table_recipe(tmp_path: Path) -> Recipe:
    return colors_recipe(
        tmp_path,
        "codes",
        model={"name": "linear_svm", "encoder": "equal_pairs", "C": [1.0]},
        explainer={"name": "lime", "output": "margin", "samples": 40, "background": 2},
        feedback={"name": "counterexamples", "shown": 4},
    )


@pytest.mark.parametrize(("make", "said"), [(image_recipe, "components"), (table_recipe, "wrong: ")])
def test_corrections_are_told_by_the_names_of_their_components(tmp_path: Path, make: object, said: str) -> None:
    run_experiment(make(tmp_path), tmp_path / "runs", QUIET)  # type: ignore[operator]
    run = only_run(tmp_path / "runs")
    page = write_report([run.directory], tmp_path / "report.html").read_text()
    assert run.corrections and said in page
    for title in EXPLANATION_COLUMNS.values():
        measured = title.endswith("queries")  # evaluate_explanations is 0
        assert (f"<th>{title}</th>" in page) == measured
    f1 = run.of("label")[1].metrics["explanation_f1"]
    assert f"<td>{f1:.3f}</td>" in page


def test_one_file_with_the_curves_of_all_arms(tmp_path: Path) -> None:
    test = write_pool(tmp_path / "test", n=30, seed=9)
    recipe = small(
        write_pool(tmp_path / "pool"),
        pool={"test": str(test)},
        strategy=None,
        arms={"entropy": "entropy", "random": "random"},
        seeds=[0, 1],
        budget={"rounds": 1},
    )
    run_experiment(recipe, tmp_path / "runs", QUIET)
    runs = [read_run(path) for path in run_directories(tmp_path / "runs")]
    page = write_report([run.directory for run in runs], tmp_path / "report.html").read_text()
    assert "<svg" in page and "<script" not in page and "unfinished" not in page
    for run in runs:
        assert all(html.escape(item.id) in page for item in run.queried if item.round and run.seed == 0)
    ends = [run.curve()[1][-1] for run in runs if run.arm == "entropy"]
    assert f"{sum(ends) / 2:.4f} ±" in page


def test_texts_are_marked_and_other_recipes_refused(tmp_path: Path) -> None:
    pool = text_pool(tmp_path / "pool.parquet", 80, 0)
    budget = {"initial": 20, "per_round": 5, "rounds": 1}
    for name, most in (("one", 20), ("other", 40)):
        explainer = {"name": "shap_partition", "max_evals": most}
        given = text_recipe(pool, pool, arms={name: "margin"}, explainer=explainer, budget=budget)
        run_experiment(given, tmp_path / name, QUIET)
    one, other = (only_run(tmp_path / name) for name in ("one", "other"))
    page = write_report([one.directory], tmp_path / "report.html").read_text()
    assert page.count('class="text"') >= 5 and "background:rgba(" in page
    assert set(arms_of([one, other])) == {"one", "other"}  # arms may have explainers of their own
    more = text_recipe(pool, pool, arms={"one": "margin"}, budget={**budget, "per_round": 6})
    run_experiment(more, tmp_path / "more", QUIET)
    with pytest.raises(RunError, match=r"different recipes: budget\.per_round"):
        write_report([one.directory, only_run(tmp_path / "more").directory], tmp_path / "both.html")
