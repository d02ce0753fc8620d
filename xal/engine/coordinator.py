"""The coordinator of a query: runs a strategy's four functions through an engine session."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from xal.core.answers import check_chosen
from xal.core.config import unparse
from xal.core.rng import HashRng
from xal.data.decode import payload_of
from xal.data.label_space import LabelSpace
from xal.data.pool import Pool
from xal.engine.engine import Advance, Session, silent
from xal.engine.tasks import (
    UNREADABLE,
    Collect,
    Measure,
    ModelRef,
    Score,
    ShardResult,
    ShardTask,
    Summarize,
    add_summaries,
    check_failures,
)
from xal.errors import DataError
from xal.explainers import Explainer
from xal.strategies.random import Random
from xal.strategies.strategy import Strategy, Summary
from xal.types import Evidence, Labelled, Query, Rows, Scored, Shape


@dataclass(kw_only=True)
class Coordinator:
    """Merges the results of the shards. It holds ids and scores, never the pool."""

    session: Session
    pool: Pool
    shape: Shape | None
    model: ModelRef | None = None
    explainer: Explainer | None = None
    progress: Callable[[str], Advance] = lambda stage: silent
    unreadable: dict[str, str] = field(default_factory=dict)
    """Reason by id, for items that could not be decoded or scored."""
    items: Counter[str] = field(default_factory=Counter)
    """Items that passed through the engine, by stage."""
    explanation_cache: Path | None = None
    """Folder of the cached explanations; None: no cache."""

    def query(
        self,
        strategy: Strategy,
        budget: int,
        rng: HashRng,
        *,
        round: int = 1,
        n_rounds: int = 1,
        labelled: Sequence[str] = (),
        labelled_rows: Rows | None = None,
        labels: Mapping[str, int] | None = None,
    ) -> Query:
        """At most `budget` unlabelled items, best first, each with the strategy that chose it.

        labels: class index by id of the labelled items, for strategies whose `prepare` reads them.
        """
        passes = EnginePasses(
            coordinator=self,
            round=round,
            n_rounds=n_rounds,
            taken=tuple(labelled),
            labelled_rows=labelled_rows if labelled_rows is not None else np.empty(0, np.int64),
            labels=labels or {},
        )
        query = strategy.query(passes, budget, rng)
        check_chosen(f"strategy '{strategy.name}'", query.items.ids.tolist(), budget, {*labelled, *self.unreadable})
        return query

    def balanced(self, budget: int, label_space: LabelSpace, rng: HashRng) -> Query:
        """`budget` items drawn at random, equally many of each class by the pool's own labels.

        The first classes get the remainder. Raises DataError if the pool has no labels or a class has too few items.
        """
        if not self.pool.has_labels:
            raise DataError("budget.balanced: the pool has no `label` column; set it to false")
        tables = [table for _, table in self.pool.scan(["id", "label"])]
        ids = np.concatenate([table["id"].to_numpy(zero_copy_only=False) for table in tables]).astype(object)
        labels = np.concatenate([table["label"].to_numpy(zero_copy_only=False) for table in tables])
        usable = ~np.isin(ids.astype(str), sorted(self.unreadable))
        candidates = Scored(ids=ids, rows=np.arange(len(ids)), scores=rng.uniform(ids))
        parts = []
        for number, name in enumerate(label_space.classes):
            quota = budget // len(label_space) + (number < budget % len(label_space))
            part = candidates.take(usable & (labels == name)).top(quota)
            if len(part) < quota:
                raise DataError(
                    f"budget.balanced: class '{name}' has {len(part)} items, {quota} are needed; lower budget.initial"
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
        """Evidence of the given rows, sorted by row; None if none of them can be used.

        explained: class to explain, by id; None: the predicted class.
        """
        rows = np.sort(rows)
        task = Collect(
            needs=needs,
            model=self.model,
            explainer=self.explainer,
            explained=explained,
            explanation_cache=self.cache_for("predicted" if explained is None else "given"),
        )
        parts = [result.value for result in self.run(task, stage, rows=rows) if result.value is not None]
        if not parts:
            return None
        evidence = Evidence.concatenate(parts)
        return evidence.take(np.argsort(evidence.rows))

    def measure(self, test: Pool, label_space: LabelSpace) -> dict[str, float]:
        """accuracy, macro_f1 and log_loss (nats) of the model on a labelled pool.

        Raises DataError if no item of the pool can be read.
        """
        task = Measure(needs=frozenset({"probabilities"}), model=self.model, label_space=label_space)
        total = task.join([])
        for result in self.run(task, "evaluate", pool=test):
            total = total + result.value
        if not total.n_items:
            raise DataError("the test pool has no readable item; check it with `xal pool check`")
        return total.metrics()

    def undecodable(self, rows: Rows) -> tuple[str, ...]:
        """Ids of the items of these rows that cannot be decoded, or have no kept vector where the others have one."""
        rows = np.sort(rows)
        table = self.pool.read(rows, ["id", self.pool.kind])
        _, decoded = payload_of(table[self.pool.kind], self.pool.kind, self.shape or ())
        if self.pool.embeddings is not None:
            decoded &= np.isfinite(self.pool.embeddings.read(rows)).all(axis=1)
        return tuple(item for item, ok in zip(table["id"].to_pylist(), decoded, strict=True) if not ok)

    def cache_for(self, classes: str) -> Path | None:
        """Folder of the cached explanations of this model by this explainer; `classes`: "predicted" or "given"."""
        if self.explanation_cache is None or self.explainer is None or self.model is None:
            return None
        settings = json.dumps([self.model.version, unparse(self.explainer)], sort_keys=True)
        return self.explanation_cache / f"{hashlib.sha256(settings.encode()).hexdigest()[:16]}-{classes}"

    def run(
        self,
        task: ShardTask,
        stage: str,
        *,
        pool: Pool | None = None,
        rows: Rows | None = None,
        exclude: Sequence[str] = (),
    ) -> Iterator[ShardResult]:
        """Run a task on the pool in shards; records items that fail and counts the others under `stage`.

        pool: None for the campaign's pool. Raises RunError if more than `engine.max_failures` items fail.
        """
        advance = self.progress(stage)
        task = replace(task, max_failures=self.session.engine.max_failures)
        failures = [pair for pair in self.unreadable.items() if pair[1] != UNREADABLE]
        for result in self.session.run(
            pool or self.pool, task, shape=self.shape, rows=rows, exclude=exclude, advance=advance
        ):
            if result.unreadable:
                self.unreadable.update(result.unreadable)
                failures += [pair for pair in result.unreadable if pair[1] != UNREADABLE]
                check_failures(failures, task.max_failures)
            self.items[stage] += result.items
            yield result


@dataclass(frozen=True, kw_only=True)
class EnginePasses:
    """Implements `xal.strategies.strategy.Passes` with passes of an engine over the pool."""

    coordinator: Coordinator
    round: int
    n_rounds: int
    taken: tuple[str, ...]
    """Ids of items that are labelled or already chosen."""
    labelled_rows: Rows
    labels: Mapping[str, int]
    """Class index by id of the labelled items."""
    rows: Rows | None = None
    """Rows to score, ascending; None: all."""

    def among(self, rows: Rows) -> EnginePasses:
        """A copy restricted to these rows of the pool."""
        return replace(self, rows=rows)

    def without(self, ids: Sequence[str]) -> EnginePasses:
        """A copy that leaves these items out."""
        return replace(self, taken=(*self.taken, *ids))

    def top(self, strategy: Strategy, n: int, rng: HashRng, state: Any = None, stage: str = "score") -> Scored:
        """The n items with the best scores, with the evidence that they were scored from."""
        return self._top(strategy, n, rng, stage, self.rows, state=state, keep_evidence=bool(strategy.needs))

    def with_evidence(self, items: Scored, strategy: Strategy) -> Scored:
        """The items with the evidence in `select_needs`: what `top` kept where that is enough, else by another pass."""
        if items.evidence is not None and strategy.select_needs <= strategy.needs:
            return items
        evidence = self.coordinator.collect(items.rows, strategy.select_needs, f"select ({strategy.name})")
        if evidence is None:
            return Scored.empty()
        order = np.argsort(items.rows)
        usable = np.isin(items.rows[order], evidence.rows)  # items that fail are left out
        items = items.take(order[usable])
        best = items.best(len(items))
        return replace(items.take(best), evidence=evidence.take(best))

    def prepare(self, strategy: Strategy, budget: int, rng: HashRng) -> Any:
        """The strategy's state, computed by its `summarize` and `prepare`; None if it needs neither."""
        if not strategy.prepare_needs and strategy.summary_needs is None:
            return None
        labelled = sample = None
        if len(self.labelled_rows) and strategy.learns_from_labelled:
            labelled = self._labelled(strategy)
        size = strategy.n_sample(budget)
        if size:
            drawn = self._top(Random(), size, rng.child("sample"), "prepare", None)
            sample = self.coordinator.collect(drawn.rows, strategy.prepare_needs, "prepare")
        return strategy.prepare(labelled, sample, self._summary(strategy))

    def _summary(self, strategy: Strategy) -> Summary | None:
        """The pool's summary; shards are added in pool order, so that rounding does not depend on the engine."""
        summary: Summary | None = None
        if strategy.summary_needs is None:
            return None
        for _ in range(strategy.n_summaries):
            task = Summarize(
                needs=strategy.summary_needs,
                model=self.coordinator.model,
                explainer=self.coordinator.explainer,
                strategy=strategy,
                last=summary,
                explanation_cache=self.coordinator.cache_for("predicted"),
            )
            results = self.coordinator.run(task, f"summarize ({strategy.name})", exclude=self._excluded)
            parts = sorted(((result.first, result.value) for result in results), key=lambda part: part[0])
            summary = add_summaries([value for _, value in parts if value is not None])
        return summary

    def _labelled(self, strategy: Strategy) -> Labelled | None:
        """Evidence of the labelled items with their labels; items that cannot be explained are left out."""
        collect = self.coordinator.collect
        evidence = collect(self.labelled_rows, strategy.prepare_needs - {"label_explanations"}, "prepare")
        if evidence is None:
            return None
        has_label = np.array([str(item) in self.labels for item in evidence.ids], bool)
        evidence = evidence.take(has_label)
        explanations = None
        if "label_explanations" in strategy.prepare_needs:
            explained = collect(evidence.rows, frozenset({"explanations"}), "prepare", explained=self.labels)
            if explained is None or explained.explanations is None:
                return None
            evidence = evidence.take(np.isin(evidence.ids.astype(str), explained.ids.astype(str)))
            explanations = explained.explanations.take(np.isin(explained.ids.astype(str), evidence.ids.astype(str)))
        labels = np.array([self.labels[str(item)] for item in evidence.ids], np.int64)
        return Labelled(evidence=evidence, labels=labels, explanations=explanations)

    @property
    def _excluded(self) -> list[str]:
        return [*self.taken, *self.coordinator.unreadable]

    def _top(
        self,
        strategy: Strategy,
        n: int,
        rng: HashRng,
        stage: str,
        rows: Rows | None,
        *,
        state: Any = None,
        keep_evidence: bool = False,
    ) -> Scored:
        task = Score(
            needs=strategy.needs,
            model=self.coordinator.model,
            explainer=self.coordinator.explainer,
            strategy=strategy,
            rng=rng,
            keep=n,
            state=state,
            keep_evidence=keep_evidence,
            explanation_cache=self.coordinator.cache_for("predicted"),
        )
        best = Scored.empty()
        for result in self.coordinator.run(task, f"{stage} ({strategy.name})", rows=rows, exclude=self._excluded):
            best = Scored.concatenate([best, result.value]).top(n)
        return best
