"""The simulated annotator: its mistakes, and that it corrects only what was shown."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.recipes import CLASSES, QUIET, corrected_recipe, labels_of, only_run
from xal.campaign.experiment import run_experiment
from xal.campaign.recipe import Recipe
from xal.core.config import parse
from xal.datasets.colors import build_colors
from xal.store.directory import open_ledger


@pytest.mark.parametrize(
    ("rates", "check"),
    [
        ({"missing": 1.0}, lambda run, kept: not kept),
        ({"wrong_labels": 1.0}, lambda run, kept: len(kept) < len(run.queried)),
        ({"noisy": 1.0}, lambda run, kept: all(min(each.correction.wrong) >= 72 for each in kept.values())),
    ],
)
def test_annotators_make_mistakes(tmp_path: Path, rates: dict[str, float], check: Any) -> None:
    recipe = corrected_recipe(tmp_path, feedback={"name": "unused", "shown": 20})
    recipe = replace(recipe, annotator=parse(Recipe, {"annotator": {"name": "simulated"} | rates}).annotator)
    run_experiment(recipe, tmp_path / "runs", QUIET)
    run = only_run(tmp_path / "runs")
    ledger = open_ledger(run.directory)
    assert check(run, ledger.corrections())
    ledger.close()
    label_of = labels_of(tmp_path / "pool")
    wrong = sum(item.label != label_of[item.id] for item in run.queried)
    assert wrong == (len(run.queried) if "wrong_labels" in rates else 0)
    assert {item.label for item in run.queried} <= set(CLASSES)


def test_a_simulated_annotator_marks_only_what_was_shown(tmp_path: Path) -> None:
    build_colors(tmp_path / "pool", items=120, rule=0, encoding="onehot")
    for shown in (4, None):
        recipe = parse(Recipe, {
            "pool": {"source": str(tmp_path / "pool"), "test": str(tmp_path / "pool")},
            "model": {"name": "senn", "layers": 1}, "explainer": "self_explaining", "strategy": "margin",
            "train": {"epochs": 2, "validation": 0, "threads": 1}, "evaluate_explanations": 10,
            "annotator": {"name": "simulated", "corrects": "always"},
            "feedback": {"name": "cali_ranking", "shown": shown},
            "budget": {"initial": 20, "per_round": 5, "rounds": 1}, "engine": "serial",
        })  # fmt: skip
        run_experiment(recipe, tmp_path / f"runs-{shown}", QUIET)
        run = only_run(tmp_path / f"runs-{shown}")
        ledger = open_ledger(run.directory)
        kept = [found.correction for found in ledger.corrections().values()]
        ledger.close()
        assert kept and all(each.missed or each.against for each in kept)
        assert all((len(each.wrong) <= 4) == (shown == 4) for each in kept)
        assert ("explanation_f1" in run.of("evaluate")[1].metrics) == (shown == 4)  # of all it says nothing
