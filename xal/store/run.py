"""Read committed runs, for the report and for `xal status`."""

from __future__ import annotations

from bisect import bisect_right
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
    """A run, as its ledger has it."""

    directory: Path
    arm: str
    seed: int
    recipe: Mapping[str, Any]
    classes: tuple[str, ...]
    steps: tuple[Step, ...]
    queried: tuple[Queried, ...]
    unreadable: Mapping[str, str]  # reason by id
    pool: str | None = None
    """Fingerprint of its pool."""
    names: tuple[str, ...] = ()
    """Names of a table's columns; empty for other pools."""
    used_up: bool = False
    """Whether it ended because no item of the pool was left to query."""
    corrections: Mapping[str, Corrected] = field(default_factory=dict)
    """Corrections by id of the item."""
    changes: tuple[tuple[int, tuple[str, ...]], ...] = ()
    """(last round before, what changed) each time that its recipe or its classes changed under way."""
    labels_changed: int = 0
    """Answers that superseded an earlier one."""

    def of(self, name: str) -> dict[int, Step]:
        """Committed steps of one name, such as "train", by round."""
        return {step.round: step for step in self.steps if step.step == name}

    def curve(self, measure: str = "accuracy") -> tuple[list[int], list[float]]:
        """(labels spent, values) of a metric, for each round that has it.

        measure: a metric of the evaluation, or `train.NAME` or `label.NAME` for a metric of another step.
        """
        step_name, _, metric = measure.rpartition(".")
        steps = self.of(step_name or "evaluate")
        values = {round: step.metrics[metric] for round, step in steps.items() if metric in step.metrics}
        rounds = sorted(item.round for item in self.queried)
        spent = [bisect_right(rounds, round) for round in values]
        return spent, list(values.values())

    @property
    def state(self) -> str:
        """The state in words, such as "finished" or "waiting for 8 labels"."""
        rounds = self.recipe["budget"]["rounds"]
        if rounds in self.of("evaluate"):
            return "finished"
        if self.used_up:
            return "finished: all items are queried"
        waiting = sum(item.waits for item in self.queried)
        if waiting:
            return f"waiting for {waiting} labels"
        last = f"{self.steps[-1].round} {self.steps[-1].step}" if self.steps else "nothing"
        return f"unfinished, after round {last}" if self.steps else "not begun"


def read_run(directory: Path, ledger_url: str | None = None) -> Run:
    """Read a run directory; raises RunError if no run was started there."""
    ledger = open_ledger(directory, ledger_url)
    try:
        recipe = yaml.safe_load(ledger.metadata("recipe") or "null")
        if recipe is None:
            raise RunError(f"{directory}: no run was started here yet; start it with xal run")
        answers = ledger.answers()
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
            used_up=ledger.metadata("used_up") is not None,
            names=tuple(yaml.safe_load(ledger.metadata("names") or "[]")),
            corrections=ledger.corrections() if recipe.get("feedback") else {},
            changes=tuple(
                (entry["round"], tuple(entry["changes"]))
                for entry in yaml.safe_load(ledger.metadata("changes") or "[]")
            ),
            labels_changed=len(answers) - len({answer["id"] for answer in answers}),
        )
    finally:
        ledger.close()
