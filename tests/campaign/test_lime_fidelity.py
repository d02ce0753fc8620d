"""LIME against the exact explanations of a self-explaining network."""

import dataclasses
from pathlib import Path

import numpy as np

from tests.recipes import QUIET, colors_recipe, only_run
from xal.campaign.experiment import run_experiment
from xal.campaign.lime_fidelity import against_exact, recall_at
from xal.campaign.recipe import Recipe
from xal.core.config import parse


def test_lime_against_the_exact_explanation(tmp_path: Path) -> None:
    exact = np.array([[3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, 3.0]])
    found = np.array([[3.0, 0.0, 2.0, 1.0], [0.0, 1.0, 2.0, 3.0]])
    assert recall_at(2, exact, found).tolist() == [0.5, 1.0]
    recipe = colors_recipe(
        tmp_path,
        "onehot",
        model={"name": "senn", "layers": 1},
        train={"validation": 0, "epochs": 10, "threads": 1},
        explainer="self_explaining",
        feedback={"name": "cali_ranking", "shown": None, "max_corrections": 2},
        evaluate_explanations=10,
    )
    always = {"annotator": {"name": "simulated", "corrects": "always"}}
    recipe = dataclasses.replace(recipe, annotator=parse(Recipe, always).annotator)
    run_experiment(recipe, tmp_path / "runs", QUIET)
    run = only_run(tmp_path / "runs")
    assert run.of("label")[1].metrics["corrected_components"] == 10
    assert run.of("evaluate")[1].metrics["explanation_loss"] > 0
    few, many = against_exact(run.directory, [20, 2000], [1], 10, 5)
    assert 0 <= few.recall < many.recall <= 1 and many.ms > few.ms
