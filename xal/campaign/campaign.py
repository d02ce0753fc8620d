"""A campaign as a state machine: query -> label -> train -> evaluate, round 0 (a random draw) to the last.

Each step commits once: its artefacts lie under their final name, then one ledger transaction names them. A killed
campaign continues at the first step that is not committed, and ends as if it had never stopped, since every step is a
function of the recipe, the seed, and the steps before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from xal.campaign.annotators import Request
from xal.campaign.claim import claim
from xal.campaign.drawn import background, holdout
from xal.campaign.queried import keep_query
from xal.campaign.recipe import RunSpec
from xal.campaign.synthetic import write_copies
from xal.campaign.teaching import Judge, Taught, Teaching, trust
from xal.campaign.truth import knows
from xal.chance import Chance
from xal.data.payloads import payload_of
from xal.data.pool import Pool
from xal.engine.engine import Session
from xal.engine.query import Coordinator
from xal.engine.training import TrainJob
from xal.engine.work import UNREADABLE, ModelRef
from xal.errors import DataError, RunError
from xal.models.model import Shape
from xal.models.shallow import Shallow
from xal.progress import Reporter
from xal.storage import remove
from xal.store.artefacts import (
    ITEMS,
    KEPT,
    SYNTHETIC,
    WEIGHTS,
    copy_folder,
    sweep,
    write_items,
    writing,
)
from xal.store.directory import held, open_ledger
from xal.store.ledger import Ledger, Queried
from xal.strategies.random import Random
from xal.strategies.strategy import Strategy
from xal.types import Correction, Rows

STEPS = ("query", "label", "train", "evaluate")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended: finished, or waiting for `waiting` labels of `round`."""

    directory: Path
    round: int
    waiting: int = 0

    @property
    def finished(self) -> bool:
        """Whether all rounds are done."""
        return not self.waiting


def run_campaign(spec: RunSpec, session: Session, reporter: Reporter) -> Outcome:
    """Run, or continue, a campaign to its end or until it waits for labels.

    Raises RunError for a directory in use, or of another recipe.
    """
    with held(spec.directory, spec.ledger) as ledger:
        session.warm()
        sweep(spec.directory)
        return Campaign(spec, session, ledger, reporter).run()


class Campaign:
    """One run, with its directory locked."""

    def __init__(self, spec: RunSpec, session: Session, ledger: Ledger, reporter: Reporter) -> None:
        self.spec, self.session, self.ledger, self.reporter = spec, session, ledger, reporter
        self.recipe, self.directory = spec.recipe, spec.directory
        self.pool = self.recipe.open_pool()
        self.test, self.validation = self.recipe.open_test(), self.recipe.open_validation()
        self.classes = self.recipe.classes(self.pool)
        self.chance = Chance(spec.seed)
        claim(spec, ledger, self.pool, self.classes, lambda: self.shape)

    @cached_property
    def shape(self) -> Shape:
        """Of an item as the network takes it."""
        return self.recipe.shape(self.pool)

    @cached_property
    def index(self) -> dict[str, int]:
        """The number of each class."""
        return {name: i for i, name in enumerate(self.classes)}

    def run(self) -> Outcome:
        """Do the steps that are not committed, in order."""
        done = {(step.round, step.step): step for step in self.ledger.steps()}
        if not done and self.spec.base is not None and self._adopt(self.spec.base):
            done = {(step.round, step.step): step for step in self.ledger.steps()}
            self.reporter.say(f"{self.directory}: round 0 as in {self.spec.base.name}")
        elif done:
            last = list(done)[-1]
            self.reporter.say(f"{self.directory}: continues after round {last[0]} {last[1]}")
        last_round = self.recipe.budget.rounds if self.spec.until is None else self.spec.until
        for round in range(last_round + 1):
            for name in STEPS:
                if (round, name) in done:
                    continue
                waiting = self._step(round, name)
                if waiting:
                    return Outcome(directory=self.directory, round=round, waiting=waiting)
        return Outcome(directory=self.directory, round=last_round)

    def _adopt(self, base: Path) -> bool:
        """Take over another run's round 0, artefacts first; False where that run has not finished it."""
        ledger = open_ledger(base, self.spec.ledger)
        try:
            if len([step for step in ledger.steps() if step.round == 0]) < len(STEPS):
                return False
            with writing(self.directory, "round-000") as folder:
                copy_folder(base / "round-000", folder)
            self.ledger.adopt(ledger, 0)
        finally:
            ledger.close()
        return True

    def _step(self, round: int, name: str) -> int:
        """Do and commit a step; returns how many labels it waits for."""
        started = time.perf_counter()
        step: Callable[[int, float], int] = getattr(self, f"_{name}")
        return step(round, started)

    def _query(self, round: int, started: float) -> int:
        budget = self.recipe.budget
        size = budget.per_round if round else budget.initial
        strategy: Strategy = self.spec.strategy.at(round, budget.rounds) if round else Random()
        known = self.ledger.queried()
        coordinator = self._coordinator(self._model(round - 1) if round else None)
        coordinator.unreadable.update(self.ledger.unreadable())
        while True:
            if not round and budget.balanced:
                query = coordinator.balanced(size, self.classes, self.chance.of("round", round))
            else:
                query = coordinator.query(
                    strategy,
                    size,
                    self.chance.of("round", round),
                    labelled=[item.id for item in known],
                    labelled_rows=np.array([item.row for item in known], np.int64),
                    labels=self._labels(known),
                )
            if not len(query):
                raise RunError(f"round {round}: no item of the pool is left to query; lower budget.rounds")
            items, broken = self._payload(query.items.rows)
            if not broken:
                break
            coordinator.unreadable |= dict.fromkeys(broken, UNREADABLE)  # chosen by id alone: choose again
        with self._artefact(round, "query") as folder:
            write_items(folder / ITEMS, items)
            queried = keep_query(coordinator, query, round, self.classes, self.recipe.explainer is not None, folder)
        chosen = {reason: query.reasons.count(reason) for reason in dict.fromkeys(query.reasons)}
        self._commit(
            round,
            "query",
            started,
            {"chosen": chosen, "items": dict(coordinator.items), "unreadable": len(coordinator.unreadable)},
            f"{len(query)} items ({', '.join(f'{count} by {name}' for name, count in chosen.items())})",
            artefact=True,
            queried=queried,
            unreadable={item: why for item, why in coordinator.unreadable.items() if item not in query.items.ids},
        )
        return 0

    def _label(self, round: int, started: float) -> int:
        items = self.ledger.queried(round)
        request = Request(
            directory=self.directory,
            round=round,
            items=items,
            pool=self.pool,
            shape=self.shape,
            classes=self.classes,
            chance=self.chance.of("round", round),
            feedback=self.recipe.feedback,
        )
        given = {item.id for item in items if item.label is not None}
        answers = self.recipe.annotator.annotate(request) if len(given) < len(items) else {}
        new = {item: label for item, label in answers.items() if item not in given}
        corrections = dict(self.recipe.annotator.correct(request, new)) if new else {}
        waiting = len(items) - len(given) - len(new)
        if waiting:
            self.ledger.add_labels(new, self.recipe.annotator.name, corrections)
            return waiting
        figures, corrected = self._trust(request, new, corrections)
        self._commit(
            round,
            "label",
            started,
            {"labels": len(items)} | figures,
            f"{len(items)} labels{corrected} by {self.recipe.annotator.name}",
            labels=new,
            corrections=corrections,
            annotator=self.recipe.annotator.name,
        )
        return 0

    def _trust(
        self, request: Request, new: Mapping[str, str], corrections: Mapping[str, Correction]
    ) -> tuple[dict[str, Any], str]:
        """What the round's labels and corrections say of the model: (figures, in words)."""
        feedback = self.recipe.feedback
        if feedback is None:
            return {}, ""
        labels = {item.id: item.label for item in request.items if item.label is not None} | dict(new)
        ids = [item.id for item in request.items]
        earlier = {item: found.correction for item, found in self.ledger.corrections().items() if item in labels}
        figures: dict[str, Any] = trust(request.items, labels, earlier | dict(corrections))
        rows = np.array([item.row for item in request.items], np.int64)
        figures |= self._judge(self.pool).figures(rows, ids, request.explanations())
        return figures, f" and {figures['corrections']} corrections"

    def _train(self, round: int, started: float) -> int:
        items = self.ledger.queried()
        finetune = self.recipe.train.start == "finetune" and round > 0
        held = frozenset(self._holdout(items))
        with self._artefact(round, "train") as folder:
            augmented = self._augment(round, held, folder)
            taught = (
                self._teaching.write(folder, items, self.ledger.corrections(), held) if self._teaching else Taught()
            )
            job = TrainJob(
                model=self.recipe.model,
                shape=self.shape,
                classes=len(self.classes),
                payloads=tuple(self._path(earlier, "query") / ITEMS for earlier in range(round + 1)),
                labels=self._labels(items),
                holdout=held,
                settings=self.recipe.train,
                seed=self.chance.of("train", round).number,
                start=self._path(round - 1, "train") / WEIGHTS if finetune else None,
                synthetic=(*([augmented] if augmented else []), *taught.counterexamples),
                feedback=self.recipe.feedback,
                guidance=taught.guidance,
                validation=self.validation,
                class_index=self.index,
            )
            advance = self.reporter.stage(f"round {round} train", "epochs")
            figures = self.session.train(job, folder / WEIGHTS, advance)
        remove(self.directory / KEPT)  # explanations by the model before
        copies = f" and {figures['synthetic_items']} synthetic" if figures["synthetic_items"] else ""
        best = (
            f"psi {figures['psi']:g}" if "psi" in figures else f"epoch {figures['best_epoch']} of {figures['epochs']}"
        )
        summary = f"{figures['train_items']} items{copies}, best {best}"
        if taught.idle:
            figures["idle_corrections"] = taught.idle
            summary += f"; {taught.idle} corrections changed nothing"
        self._commit(round, "train", started, figures, summary, artefact=True)
        return 0

    @cached_property
    def _teaching(self) -> Teaching | None:
        if self.recipe.feedback is None:
            return None
        return Teaching(
            directory=self.directory,
            feedback=self.recipe.feedback,
            pool=self.pool,
            test=self.test,
            shape=self.shape,
            classes=self.classes,
            chance=self.chance,
        )

    def _augment(self, round: int, held: frozenset[str], folder: Path) -> Path | None:
        """Write the round's synthetic copies; None: there are none. Held-out items have none, or they would leak."""
        strategy = self.spec.strategy.at(round, self.recipe.budget.rounds) if round else None
        plan = strategy.augmentation() if strategy else None
        if strategy is None or plan is None:
            return None
        items = [item for item in self.ledger.queried(round) if item.why == strategy.name and item.id not in held]
        chosen = items[: plan.limit]  # by rank already
        if not chosen:
            return None
        coordinator = self._coordinator(self._model(round - 1))
        write_copies(folder / SYNTHETIC, plan, chosen, self.index, coordinator, self._path(round, "query"))
        return folder / SYNTHETIC

    def _evaluate(self, round: int, started: float) -> int:
        coordinator = self._coordinator(self._model(round))
        figures: dict[str, Any]
        on = self.test or self.validation
        if on is not None:
            name = "validation" if self.test is None else "test"
            figures = coordinator.measure(on, self.classes) | {"on": name}
        else:
            figures = self._evaluate_holdout(coordinator)
        if self.recipe.judge and on is not None and knows(on):
            figures |= self._judge(on).drawn(replace(coordinator, pool=on, kept=None), self.recipe.judge)
        summary = f"accuracy {figures['accuracy']:.4f} on {figures['on']}"
        if coordinator.unreadable:
            figures["left_out"] = coordinator.unreadable  # by id, why: the measures are of the others
            summary += f", without {len(coordinator.unreadable)} items"
        self._commit(round, "evaluate", started, figures, summary)
        return 0

    def _judge(self, pool: Pool) -> Judge:
        k = self.recipe.feedback.shown if self.recipe.feedback else None
        return Judge(pool=pool, shape=self.shape, classes=self.classes, k=k, explainer=self.recipe.explainer)

    def _evaluate_holdout(self, coordinator: Coordinator) -> dict[str, Any]:
        items = {item.id: item for item in self.ledger.queried()}
        held = self._holdout(list(items.values()))
        if not held:
            raise DataError("nothing to evaluate on: give pool.test, or raise train.validation")
        rows = np.array([items[item].row for item in held], np.int64)
        evidence = coordinator.collect(rows, frozenset({"probabilities"}), "evaluate")
        if evidence is None or evidence.probabilities is None:
            raise DataError("nothing to evaluate on: the held-out items cannot be read")
        predicted = evidence.probabilities.argmax(axis=1)
        hits = [self.classes[p] == items[item].label for item, p in zip(evidence.ids, predicted, strict=True)]
        return {"accuracy": float(np.mean(hits)), "test_items": len(hits), "on": "validation"}

    def _holdout(self, items: list[Queried]) -> list[str]:
        """Ids of the validation split; none where a pool serves, as any does for a model that cross-validates."""
        if self.validation is not None or (self.test is not None and isinstance(self.recipe.model, Shallow)):
            return []
        return holdout([item.id for item in items], self.chance, self.recipe.train.validation)

    def _payload(self, rows: Rows) -> tuple[pa.Table, list[str]]:
        """(id, row, payload) of the rows in ascending order, and the ids of unreadable ones."""
        rows = np.sort(rows)
        table = self.pool.read(rows, ["id", self.pool.kind]).append_column("row", pa.array(rows))
        _, good = payload_of(table[self.pool.kind], self.pool.kind, self.shape)
        return table, [str(item) for item in np.array(table["id"].to_pylist(), dtype=object)[~good]]

    def _coordinator(self, model: ModelRef | None) -> Coordinator:
        return Coordinator(
            session=self.session,
            pool=self.pool,
            shape=self.shape,
            model=model,
            explainer=self.recipe.explainer,
            progress=lambda stage: self.reporter.stage(stage),
            kept=self.directory / KEPT,
        )

    def _labels(self, items: Sequence[Queried]) -> dict[str, int]:
        return {item.id: self.index[item.label] for item in items if item.label is not None}

    def _model(self, round: int) -> ModelRef:
        return ModelRef(
            model=self.recipe.model,
            weights=(self._path(round, "train") / WEIGHTS).resolve(),
            version=f"{self.directory.resolve()}#{round}",
            shape=self.shape,
            classes=len(self.classes),
            background=background(
                self.recipe.explainer, self.pool, self.shape, self.ledger.queried(), self.spec.seed, round
            ),
        )

    def _path(self, round: int, step: str) -> Path:
        return self.directory / f"round-{round:03d}" / step

    def _artefact(self, round: int, step: str) -> Any:
        return writing(self.directory, f"round-{round:03d}/{step}")

    def _commit(
        self,
        round: int,
        step: str,
        started: float,
        figures: dict[str, Any],
        summary: str,
        *,
        artefact: bool = False,
        **decided: Any,
    ) -> None:
        seconds = time.perf_counter() - started
        where = f"round-{round:03d}/{step}" if artefact else None
        self.ledger.commit(round, step, seconds=seconds, figures=figures, artefact=where, **decided)
        self.reporter.say(f"round {round}/{self.recipe.budget.rounds} {step:<8} {seconds:6.1f} s  {summary}")
