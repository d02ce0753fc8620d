"""A campaign as a state machine: query -> label -> train -> evaluate, from round 0 (random items) to the last round.

Each step commits once: it writes its artefacts under their final names, then records them in one ledger transaction. A
killed campaign continues at the first step that is not committed. It ends with the same result as one that never
stopped, because every step is a function of the recipe, the seed, and the steps before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from xal.campaign.advice import advice
from xal.campaign.embedded import embedded
from xal.campaign.run_spec import RunSpec
from xal.campaign.steps import PoolUsedUp, RunSteps
from xal.core.progress import Reporter
from xal.engine.engine import Session
from xal.errors import RunError
from xal.store.atomic import copy_folder, sweep, writing
from xal.store.directory import held, open_ledger, round_folder
from xal.store.ledger import Ledger
from xal.store.run import read_run

STEPS = ("query", "label", "train", "evaluate")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a call ended: finished, or waiting for `waiting` labels of `round`."""

    directory: Path
    round: int
    waiting: int = 0

    @property
    def finished(self) -> bool:
        """Whether all rounds are done."""
        return not self.waiting


def run_campaign(spec: RunSpec, session: Session, reporter: Reporter) -> Outcome:
    """Start or continue a campaign, until it ends or waits for labels.

    Raises RunError if the directory is in use, or holds a run of another recipe or pool.
    """
    with held(spec.directory, spec.ledger) as ledger:
        session.warm()
        sweep(spec.directory)
        return Campaign(spec, session, ledger, reporter).run()


class Campaign:
    """One run; the caller holds the lock of its directory."""

    def __init__(self, spec: RunSpec, session: Session, ledger: Ledger, reporter: Reporter) -> None:
        spec = replace(spec, pools=embedded(spec.recipe, spec.pools, session, reporter))
        self.spec, self.ledger, self.reporter, self.directory = spec, ledger, reporter, spec.directory
        self._steps = RunSteps(spec, session, ledger, reporter)

    def run(self) -> Outcome:
        """Do the steps that are not committed, in order, to the last round or until labels are missing."""
        steps = self.ledger.steps()
        if steps:
            self.reporter.say(f"{self.directory}: continues after round {steps[-1].round} {steps[-1].step}")
        elif self.spec.shared_round0 is not None and self._adopt(self.spec.shared_round0):
            self.reporter.say(f"{self.directory}: round 0 as in {self.spec.shared_round0.name}")
        last_round = self.spec.recipe.budget.rounds if self.spec.last_round is None else self.spec.last_round
        while (step := self._next())[0] <= last_round:
            try:
                waiting = self._step(*step)
            except PoolUsedUp:
                self.reporter.say(f"{self.directory}: all items of the pool are queried; the campaign ends")
                self.ledger.set_metadata("used_up", str(step[0]))
                break
            if waiting:
                return Outcome(directory=self.directory, round=step[0], waiting=waiting)
        return Outcome(directory=self.directory, round=last_round)

    def train(self) -> Outcome:
        """Do the steps before the next query: label, train and evaluate the last batch."""
        while (step := self._next())[1] != "query":
            waiting = self._step(*step)
            if waiting:
                return Outcome(directory=self.directory, round=step[0], waiting=waiting)
        return Outcome(directory=self.directory, round=step[0] - 1)

    def ask(self, size: int) -> Outcome:
        """Train, query `size` items, and hand them to the annotator; RunError while a batch waits for labels."""
        before = self.train()
        if before.waiting:
            raise RunError(f"{before.waiting} items of the last batch are not labelled yet; label them first")
        round, _ = self._next()
        self._steps.query(round, time.perf_counter(), size)
        return Outcome(directory=self.directory, round=round, waiting=self._step(round, "label"))

    def _next(self) -> tuple[int, str]:
        """The first step that is not committed."""
        done = self.ledger.steps_done()
        if not done:
            return 0, STEPS[0]
        round = max(round for round, _ in done)
        missing = [name for name in STEPS if (round, name) not in done]
        return (round, missing[0]) if missing else (round + 1, STEPS[0])

    def _adopt(self, other: Path) -> bool:
        """Copy another run's round 0, artefacts first; False if that run has not finished it."""
        ledger = open_ledger(other, self.spec.ledger)
        try:
            if len([step for step in ledger.steps() if step.round == 0]) < len(STEPS):
                return False
            with writing(self.directory, round_folder(0)) as folder:
                copy_folder(other / round_folder(0), folder)
            self.ledger.adopt(ledger, 0)
        finally:
            ledger.close()
        return True

    def _step(self, round: int, name: str) -> int:
        """Do and commit a step; returns the number of labels it waits for."""
        step: Callable[[int, float], int] = getattr(self._steps, name)
        with self.reporter.step(f"round {round} {name}"):
            waiting: int = step(round, time.perf_counter())
        if name == "evaluate" and self.spec.recipe.arms is None:
            for line in advice(read_run(self.directory, self.spec.ledger)):
                self.reporter.say(f"round {round}: {line}")
        return waiting
