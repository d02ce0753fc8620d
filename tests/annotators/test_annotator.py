"""An annotator of a user's own that answers in parts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.recipes import QUIET, corrected_recipe, only_run
from xal.annotators.annotator import Annotator, Request
from xal.annotators.simulated import Simulated
from xal.campaign.experiment import run_experiment
from xal.store.directory import open_ledger
from xal.types import Correction


@dataclass(frozen=True, kw_only=True)
class Halves(Annotator):
    """Answers half of what is left at a time, and corrects what it answers."""

    def annotate(self, request: Request) -> Mapping[str, str]:
        labels = Simulated().annotate(request)
        left = [item.id for item in request.items if item.label is None]
        return {item: labels[item] for item in left[: (len(left) + 1) // 2]}

    def correct(self, request: Request, labels: Mapping[str, str]) -> Mapping[str, Correction]:
        return {item: Correction(wrong=(3,)) for item in labels if request.round}


@pytest.mark.usefixtures("database")
def test_corrections_that_come_in_parts_are_all_kept(tmp_path: Path) -> None:
    recipe = replace(corrected_recipe(tmp_path, feedback={"name": "unused", "shown": 20}), annotator=Halves())
    for _ in range(20):
        outcome = run_experiment(recipe, tmp_path / "runs", QUIET)[0]
        if outcome.finished:
            break
    run = only_run(tmp_path / "runs")
    ledger = open_ledger(run.directory)
    assert outcome.finished and ledger.corrections().keys() == {item.id for item in run.queried if item.round}
    ledger.close()
    assert [run.of("label")[round].metrics["corrections"] for round in (1, 2)] == [8, 8]
