"""Where explanations look, against what a pool says is relevant."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.recipes import QUIET, corrected_recipe, only_run
from xal.campaign.experiment import run_experiment
from xal.campaign.explained_images import explain_labelled, off_reasons
from xal.campaign.lime_fidelity import against_exact
from xal.errors import DataError, RunError
from xal.report.reasons import write_reasons
from xal.report.right_reasons import right_reasons_table
from xal.report.rules import decomposed


def test_reasons_of_a_run(tmp_path: Path) -> None:
    recipe = corrected_recipe(tmp_path, feedback={"name": "rrr", "shown": 20})
    given = dataclasses.replace(
        recipe, pool=dataclasses.replace(recipe.pool, test=recipe.pool.source), evaluate_explanations=30
    )
    run_experiment(given, tmp_path / "runs", QUIET)
    run = only_run(tmp_path / "runs")
    found = explain_labelled(run.directory, 20)
    shares, where = off_reasons(found)
    assert where[:, :6].all() and not where[:, 6:].any()  # the pool says so of the upper half
    by_hand = [np.abs(heat[:6]).sum() / np.abs(heat).sum() for heat in found.explanations.heat]
    np.testing.assert_allclose(shares, by_hand, rtol=1e-9)
    picture, means = write_reasons({"one": found}, tmp_path / "deep" / "reasons.png")
    assert picture.read_bytes()[:4] == b"\x89PNG" and means == {"one": pytest.approx(np.mean(by_hand))}
    evaluated = run.of("evaluate")[2].metrics
    assert 0 < evaluated["on_irrelevant"] < 1 and "explanation_loss" not in evaluated
    rows = right_reasons_table([run])
    assert [row["round"] for row in rows] == [0, 1, 2] and rows[0]["right_for_right"] is None
    assert sum(rows[1][name] for name in ("right_for_right", "right_for_wrong", "wrong")) == pytest.approx(1)
    assert rows[2]["on_irrelevant_test"] == evaluated["on_irrelevant"]
    with pytest.raises(RunError, match="has no self-explaining model"):
        against_exact(run.directory, [10], [1], 5, 2)
    with pytest.raises(RunError, match="rules are found in linear models"):
        decomposed(run)
    plain = dataclasses.replace(found, pool=dataclasses.replace(found.pool, columns=("id", "image", "label")))
    with pytest.raises(DataError, match="has no column `relevant` or `irrelevant`"):
        off_reasons(plain)
