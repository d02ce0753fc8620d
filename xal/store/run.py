"""Read what runs have committed, for the report and for `xal status`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from xal.errors import RunError
from xal.store.directory import open_ledger
from xal.store.ledger import Corrected, Queried, Step


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """A run as its ledger tells it."""

    directory: Path
    arm: str
    seed: int
    recipe: Mapping[str, Any]
    classes: tuple[str, ...]
    steps: tuple[Step, ...]
    queried: tuple[Queried, ...]
    unreadable: Mapping[str, str]  # why, by id
    pool: str | None = None
    """The fingerprint of its pool."""
    names: tuple[str, ...] = ()
    """Of a table's columns."""
    corrections: Mapping[str, Corrected] = field(default_factory=dict)
    """By id of the item."""

    def of(self, name: str) -> dict[int, Step]:
        """Committed steps of one name by round."""
        return {step.round: step for step in self.steps if step.step == name}

    def curve(self, measure: str = "accuracy") -> tuple[list[int], list[float]]:
        """(labels spent, measure) after each round that has it: a figure of evaluation, or, as `train.NAME` and
        `label.NAME`, of another step."""
        step, _, name = measure.rpartition(".")
        found = {
            round: each.metrics[name] for round, each in self.of(step or "evaluate").items() if name in each.metrics
        }
        spent = [sum(item.round <= round for item in self.queried) for round in found]
        return spent, list(found.values())

    @property
    def state(self) -> str:
        """In words."""
        rounds = self.recipe["budget"]["rounds"]
        if rounds in self.of("evaluate"):
            return "finished"
        waiting = sum(item.label is None for item in self.queried)
        if waiting:
            return f"waiting for {waiting} labels"
        last = f"{self.steps[-1].round} {self.steps[-1].step}" if self.steps else "nothing"
        return f"unfinished, after round {last}" if self.steps else "not begun"


def read_run(directory: Path, ledger_url: str | None = None) -> Run:
    """Read a run directory; raises RunError where it holds no begun run."""
    ledger = open_ledger(directory, ledger_url)
    try:
        recipe = yaml.safe_load(ledger.metadata("recipe") or "null")
        if recipe is None:
            raise RunError(f"{directory}: the run has not begun; xal run starts it")
        return Run(
            directory=directory,
            arm=ledger.metadata("arm") or recipe["strategy"]["name"],
            seed=recipe["seed"],
            recipe=recipe,
            classes=tuple(yaml.safe_load(ledger.metadata("classes") or "[]")),
            steps=tuple(ledger.steps()),
            queried=tuple(ledger.queried()),
            unreadable=ledger.unreadable(),
            pool=ledger.metadata("pool"),
            names=tuple(yaml.safe_load(ledger.metadata("names") or "[]")),
            corrections=ledger.corrections() if recipe.get("feedback") else {},
        )
    finally:
        ledger.close()
