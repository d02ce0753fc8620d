"""The rules of the colors data in a linear model."""

from pathlib import Path

from tests.recipes import QUIET, colors_recipe, only_run
from xal.campaign.experiment import run_experiment
from xal.report.html import arms_of
from xal.report.rules import decomposed, rule_vectors, write_rules


def test_the_rules_in_a_linear_model(tmp_path: Path) -> None:
    zero, one = rule_vectors()
    assert zero.sum() == 6 and one.sum() == -3 and zero @ one == 0
    recipe = colors_recipe(
        tmp_path,
        "codes",
        model={"name": "linear_svm", "encoder": "equal_pairs", "penalty": "l1", "C": [1.0], "calibrate": False},
        explainer={"name": "lime", "output": "margin", "samples": 40, "background": 2},
        feedback={"name": "unused", "shown": 4},
    )
    run_experiment(recipe, tmp_path / "runs", QUIET)
    run = only_run(tmp_path / "runs")
    found = decomposed(run)
    assert found.shape == (2, 2) and (found > 0).any()  # what tells the classes apart are the rules
    figure, rows = write_rules(arms_of([run]), tmp_path / "rules.svg")
    assert figure.read_text().startswith("<svg") and rows[0]["rule 0"].mean == found[-1, 0]
