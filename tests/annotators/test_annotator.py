"""An annotator of a user's own that answers in parts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.recipes import QUIET, corrected_recipe, only_run
from xal.annotators.annotator import Annotator, Request
from xal.annotators.simulated import Simulated
from xal.campaign.experiment import run_experiment
from xal.errors import XalError
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


@dataclass(frozen=True, kw_only=True)
class Wrong(Simulated):
    """Answers what was not asked, in one of several ways."""

    way: str = "class"

    def annotate(self, request: Request) -> Mapping[str, str]:
        labels = dict(Simulated().annotate(request))
        first = next(iter(labels))
        return labels | {"class": {first: "no such class"}, "item": {"another item": labels[first]}}[self.way]


@pytest.mark.parametrize(
    ("way", "message"),
    [("class", "labels outside the classes: no such class"), ("item", "'another item', which it was not asked for")],
)
def test_an_answer_that_nobody_asked_for_is_refused_before_anything_is_kept(
    tmp_path: Path, way: str, message: str
) -> None:
    recipe = replace(corrected_recipe(tmp_path, feedback={"name": "unused", "shown": 20}), annotator=Wrong(way=way))
    with pytest.raises(XalError, match=message):
        run_experiment(recipe, tmp_path / "runs", QUIET)
    assert not [item for item in only_run(tmp_path / "runs").queried if item.label is not None]
