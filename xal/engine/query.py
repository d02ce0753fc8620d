"""The coordinator's part of a query: run a strategy's four functions through an engine session."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from xal.chance import Chance
from xal.config import unparse
from xal.data.pool import Pool
from xal.engine.engine import Advance, Session, silent
from xal.engine.work import UNREADABLE, Collect, Measure, ModelRef, Score, Work, check_failures
from xal.errors import DataError
from xal.explainers import Explainer
from xal.models.model import Shape
from xal.strategies.random import Random
from xal.strategies.strategy import Strategy
from xal.types import Evidence, Labelled, Query, Rows, Scored


@dataclass(kw_only=True)
class Coordinator:
    """Merges what the shards report; holds ids and scores, never the pool."""

    session: Session
    pool: Pool
    shape: Shape | None
    model: ModelRef | None = None
    explainer: Explainer | None = None
    progress: Callable[[str], Advance] = lambda stage: silent
    unreadable: dict[str, str] = field(default_factory=dict)
    """Why, by id: items that no pass could use."""
    items: Counter[str] = field(default_factory=Counter)
    kept: Path | None = None
    """Where explanations by this model are kept; None: nowhere."""
    _labels: Mapping[str, int] = field(default_factory=dict)

    def query(
        self,
        strategy: Strategy,
        budget: int,
        chance: Chance,
        *,
        labelled: Sequence[str] = (),
        labelled_rows: Rows | None = None,
        labels: Mapping[str, int] | None = None,
    ) -> Query:
        """At most `budget` unlabelled items, best first, each with the strategy that chose it.

        labels: class indices by id of labelled items, for strategies that prepare with them.
        """
        self._labels = labels or {}
        parts: list[Scored] = []
        reasons: list[str] = []
        taken = list(labelled)
        step: Strategy | None = strategy
        while step is not None and len(reasons) < budget:
            found = self._plan(step, budget - len(reasons), chance, taken, labelled_rows)
            parts.append(found)
            reasons += [step.name] * len(found)
            taken += found.ids.tolist()
            step = step.filler()
        return Query(items=Scored.concatenate(parts), reasons=tuple(reasons))

    def balanced(self, budget: int, classes: tuple[str, ...], chance: Chance) -> Query:
        """`budget` items drawn at random, evenly from all classes by the pool's own labels (the first get the rest).

        Raises DataError where a class has too few.
        """
        if not self.pool.has_labels:
            raise DataError("budget.balanced: the pool has no `label` column; set it to false")
        spans = list(self.pool.scan(["id", "label"]))
        ids = np.concatenate([table["id"].to_numpy(zero_copy_only=False) for _, table in spans]).astype(object)
        labels = np.concatenate([table["label"].to_numpy(zero_copy_only=False) for _, table in spans])
        usable = ~np.isin(ids.astype(str), sorted(self.unreadable))
        everything = Scored(ids=ids, rows=np.arange(len(ids)), scores=chance.uniform(ids))
        parts = []
        for number, name in enumerate(classes):
            quota = budget // len(classes) + (number < budget % len(classes))
            part = everything.take(usable & (labels == name)).top(quota)
            if len(part) < quota:
                raise DataError(
                    f"budget.balanced: class '{name}' has {len(part)} items, {quota} are wanted; lower budget.initial"
                )
            parts.append(part)
        items = Scored.concatenate(parts).top(budget)
        return Query(items=items, reasons=("random",) * len(items))

    def collect(
        self,
        rows: Rows,
        needs: frozenset[str],
        stage: str,
        *,
        explained: Mapping[str, int] | None = None,
    ) -> Evidence | None:
        """Evidence on the given rows, in ascending order of row.

        explained: the class of interest by id; None: the predicted one.
        """
        rows = np.sort(rows)
        work = Collect(
            needs=needs,
            model=self.model,
            explainer=self.explainer,
            explained=explained,
            explained_items=self._kept("predicted" if explained is None else "given"),
        )
        parts = [part for part in self._run(work, stage, rows=rows) if part is not None]
        if not parts:
            return None
        evidence = Evidence.concatenate(parts)
        return evidence.take(np.argsort(evidence.rows))

    def measure(self, test: Pool, classes: tuple[str, ...]) -> dict[str, float]:
        """accuracy, macro_f1 and log_loss (nats) of the model on a labelled pool."""
        work = Measure(needs=frozenset({"probabilities"}), model=self.model, classes=classes)
        counts, loss = np.zeros((len(classes), len(classes)), np.int64), 0.0
        for part, summed in self._run(work, "evaluate", pool=test):
            counts, loss = counts + part, loss + summed
        if not counts.sum():
            raise DataError("the test pool holds no readable item")
        hits = np.diag(counts)
        f1 = 2 * hits / np.maximum(counts.sum(axis=0) + counts.sum(axis=1), 1)
        return {
            "accuracy": float(hits.sum() / counts.sum()),
            "macro_f1": float(f1[counts.sum(axis=1) > 0].mean()),
            "log_loss": loss / int(counts.sum()),
            "test_items": int(counts.sum()),
        }

    def _plan(
        self, strategy: Strategy, budget: int, chance: Chance, taken: Sequence[str], labelled_rows: Rows | None
    ) -> Scored:
        state = self._prepare(strategy, budget, chance, taken, labelled_rows)
        rows: Rows | None = None
        survivors, first = strategy.survivors(budget), strategy.preselection()
        if survivors is not None and first is not None:
            passed = self._plan(first, survivors, chance.of("preselect"), taken, labelled_rows)
            rows = np.sort(passed.rows)
        elif survivors is not None:
            passed = self._best(
                strategy, survivors, chance.of("prefilter"), taken, None, prefilter=True, stage="prefilter"
            )
            rows = np.sort(passed.rows)
        scored = self._best(
            strategy, strategy.shortlist(budget), chance.of("score"), taken, rows, state=state, stage="score"
        )
        return strategy.select(scored, budget)

    def _prepare(
        self, strategy: Strategy, budget: int, chance: Chance, taken: Sequence[str], labelled_rows: Rows | None
    ) -> Any:
        if not strategy.prepare_needs:
            return None
        labelled, sample = None, None
        if labelled_rows is not None and len(labelled_rows) and strategy.learns_from_labelled:
            labelled = self._labelled(strategy, labelled_rows)
        size = strategy.sample_size(budget)
        if size:
            drawn = self._best(Random(), size, chance.of("sample"), taken, None, stage="prepare")
            sample = self.collect(drawn.rows, strategy.prepare_needs, "prepare")
        return strategy.prepare(labelled, sample)

    def _labelled(self, strategy: Strategy, rows: Rows) -> Labelled | None:
        """Evidence on the labelled items with their labels; those that cannot be explained are left out."""
        evidence = self.collect(rows, strategy.prepare_needs - {"label_explanations"}, "prepare")
        if evidence is None:
            return None
        given = {str(item): label for item, label in self._labels.items()}
        known = np.array([str(item) in given for item in evidence.ids], bool)
        evidence = evidence.take(known)
        explanations = None
        if "label_explanations" in strategy.prepare_needs:
            found = self.collect(evidence.rows, frozenset({"explanations"}), "prepare", explained=given)
            if found is None or found.explanations is None:
                return None
            both = np.isin(evidence.ids.astype(str), found.ids.astype(str))
            evidence = evidence.take(both)
            explanations = found.explanations.take(np.isin(found.ids.astype(str), evidence.ids.astype(str)))
        labels = np.array([given[str(item)] for item in evidence.ids], np.int64)
        return Labelled(evidence=evidence, labels=labels, explanations=explanations)

    def _kept(self, classes: str) -> Path | None:
        """The folder of what this explainer has explained by this model."""
        if self.kept is None or self.explainer is None or self.model is None:
            return None
        settings = json.dumps([self.model.version, unparse(self.explainer)], sort_keys=True)
        return self.kept / f"{hashlib.sha256(settings.encode()).hexdigest()[:16]}-{classes}"

    def _best(
        self,
        strategy: Strategy,
        keep: int,
        chance: Chance,
        taken: Sequence[str],
        rows: Rows | None,
        *,
        stage: str,
        prefilter: bool = False,
        state: Any = None,
    ) -> Scored:
        work = Score(
            needs=strategy.prefilter_needs if prefilter else strategy.needs,
            model=self.model,
            explainer=self.explainer,
            strategy=strategy,
            chance=chance,
            keep=keep,
            prefilter=prefilter,
            state=state,
            explained_items=self._kept("predicted"),
        )
        best = Scored.empty()
        label = f"{stage} ({strategy.name})"
        for part in self._run(work, label, rows=rows, exclude=[*taken, *self.unreadable]):
            best = Scored.concatenate([best, part]).top(keep)
        return best

    def _run(
        self,
        work: Work,
        stage: str,
        *,
        pool: Pool | None = None,
        rows: Rows | None = None,
        exclude: Sequence[str] = (),
    ) -> Any:
        advance = self.progress(stage)
        work = replace(work, max_failures=self.session.engine.max_failures)
        failures = [pair for pair in self.unreadable.items() if pair[1] != UNREADABLE]
        for partial in self.session.run(
            pool or self.pool, work, shape=self.shape, rows=rows, exclude=exclude, advance=advance
        ):
            if partial.unreadable:
                self.unreadable.update(partial.unreadable)
                failures += [pair for pair in partial.unreadable if pair[1] != UNREADABLE]
                check_failures(failures, work.max_failures)
            self.items[stage] += partial.items
            yield partial.value
