"""A pool whose predictions, embeddings and explanations are made up, and passes over it without an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from xal.core.rng import HashRng
from xal.strategies.random import Random
from xal.strategies.strategy import Strategy, Summary
from xal.types import Evidence, Explanations, Labelled, Query, Rows, Scored

CLASSES, FEATURES, COLUMNS = 5, 4, 6
PARTS = (
    "probabilities",
    "embeddings",
    "explanations",
    "interpretable_input",
    "contrastive",
    "sampled_probabilities",
)
SUMMARY_BATCH = 16  # rows: sums are rounded alike whatever the shards


def evidence(n: int = 61, seed: int = 0, space: str = "ebano") -> Evidence:
    """Everything on n items, explained by features of their own with nPIR and nPIRP, or by shared columns."""
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(CLASSES), n)
    probabilities[0] = np.eye(CLASSES)[1]  # certain: zeros among the probabilities
    probabilities[1] = 1 / CLASSES
    ids = np.array([f"{seed}-{i:03d}" for i in generator.permutation(n)], object)
    embeddings = generator.normal(size=(n, 8))
    interpretable_input = generator.uniform(size=(n, COLUMNS))
    given: dict[str, Any] = {
        "explained_class": probabilities.argmax(axis=1),
        "probability": probabilities.max(axis=1),
    }
    if space == "ebano":
        npir, npirp = generator.uniform(-1, 1, (2, n, FEATURES))
        k = generator.integers(2, FEATURES + 1, n)
        beyond = np.arange(FEATURES) >= k[:, None]
        npir[beyond] = npirp[beyond] = np.nan
        explanations = Explanations(
            feature_kind="segments",
            segments=(generator.integers(0, 256, (n, 3, 3)) % k[:, None, None]).astype(np.uint8),
            attributions=npir,
            interpretable_input=np.where(np.isnan(npir), np.nan, 1.0),
            npirp=npirp,
            per_item=True,
            **given,
        )
    else:
        explanations = Explanations(
            feature_kind="columns",
            attributions=generator.normal(size=(n, COLUMNS)),
            interpretable_input=interpretable_input,
            **given,
        )
    return Evidence(
        ids=ids,
        rows=np.arange(n),
        probabilities=probabilities,
        embeddings=embeddings,
        interpretable_input=interpretable_input,
        explanations=explanations,
        contrastive=generator.normal(size=(n, 8)),
        sampled_probabilities=generator.dirichlet(np.ones(CLASSES), (n, 10)),
    )


def needed(given: Evidence, needs: frozenset[str]) -> Evidence:
    """Evidence as an engine gives it: what was not asked for is None."""
    return replace(given, **{name: None for name in PARTS if name not in needs})


def labelled(given: Evidence, labels: Mapping[str, int], needs: frozenset[str]) -> Labelled:
    """Those of the items that have labels; the explanations of their labels are those of other items."""
    known = given.take(np.flatnonzero([item in labels for item in given.ids]))
    of_labels = None
    if "label_explanations" in needs and known.explanations is not None:
        of_labels = replace(
            known.explanations.take(np.arange(len(known))[::-1]),
            explained_class=np.array([labels[item] for item in known.ids], np.int64),
        )
    return Labelled(
        evidence=needed(known, needs),
        labels=np.array([labels[item] for item in known.ids], np.int64),
        explanations=of_labels,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class FakePasses:
    """`xal.strategies.strategy.Passes` over a pool that was taken apart into shards, in no order."""

    pool: Evidence
    labels: Mapping[str, int]
    n_shards: int = 1
    round: int = 1
    n_rounds: int = 4
    taken: tuple[str, ...] = ()
    rows: Rows | None = None
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    """(stage, strategy, items) of each pass."""

    def query(self, strategy: Strategy, budget: int, rng: HashRng) -> Query:
        """As the coordinator begins: without the labelled items."""
        return strategy.query(self.without(list(self.labels)), budget, rng)

    def among(self, rows: Rows) -> FakePasses:
        assert (np.diff(rows) > 0).all(), "rows are ascending"
        return replace(self, rows=rows)

    def without(self, ids: Sequence[str]) -> FakePasses:
        return replace(self, taken=(*self.taken, *ids))

    def top(self, strategy: Strategy, n: int, rng: HashRng, state: Any = None, stage: str = "score") -> Scored:
        best = Scored.empty()
        found = 0
        for shard in self._shards():
            given = needed(shard, strategy.needs)
            scored = Scored(
                ids=given.ids,
                rows=given.rows,
                scores=strategy.score(given, state, rng),
                evidence=given if strategy.needs else None,
            )
            found += len(scored)
            best = Scored.concatenate([best, scored.top(n)]).top(n)
        self.asked.append((stage, strategy.name, found))
        return best

    def with_evidence(self, items: Scored, strategy: Strategy) -> Scored:
        place = {row: number for number, row in enumerate(self.pool.rows.tolist())}
        given = self.pool.take(np.array([place[row] for row in items.rows.tolist()], np.int64))
        return replace(items, evidence=needed(given, strategy.select_needs))

    def prepare(self, strategy: Strategy, budget: int, rng: HashRng) -> Any:
        if not strategy.prepare_needs and strategy.summary_needs is None:
            return None
        known = sample = None
        if self.labels and strategy.learns_from_labelled:
            known = labelled(self.pool, self.labels, strategy.prepare_needs)
        if size := strategy.n_sample(budget):
            drawn = replace(self, rows=None).top(Random(), size, rng.child("sample"), stage="prepare")
            sample = needed(self.pool.take(np.sort(drawn.rows)), strategy.prepare_needs)
        return strategy.prepare(known, sample, self.summary(strategy))

    def summary(self, strategy: Strategy) -> Summary | None:
        """As often as the strategy says."""
        if strategy.summary_needs is None:
            return None
        total: Summary | None = None
        everything = needed(self.pool.take(self._left(None)), strategy.summary_needs)
        for _ in range(strategy.n_summaries):
            cuts = range(0, len(everything), SUMMARY_BATCH)
            parts = [strategy.summarize(everything.take(slice(cut, cut + SUMMARY_BATCH)), total) for cut in cuts]
            total = {name: sum(part[name] for part in parts) for name in parts[0]}
        return total

    def _left(self, rows: Rows | None) -> Rows:
        free = ~np.isin(self.pool.ids.astype(str), np.array(self.taken, str))
        return np.flatnonzero(free if rows is None else free & np.isin(self.pool.rows, rows))

    def _shards(self) -> list[Evidence]:
        left = self._left(self.rows)
        return [self.pool.take(part) for part in np.array_split(left, self.n_shards)[::-1] if len(part)]
