"""Passes over a pool in memory, for `xal.query` and tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xal.core.rng import HashRng
from xal.errors import NumericalError, XalError
from xal.strategies.random import Random
from xal.strategies.strategy import Strategy
from xal.types import Evidence, Explanations, Labelled, Labels, Rows, Scored


@dataclass(frozen=True, eq=False, kw_only=True)
class InMemoryPasses:
    """`xal.strategies.strategy.Passes` over evidence that is given from the start."""

    evidence: Evidence
    """Evidence on all n items."""
    labelled: Rows
    """Positions of labelled items, which are not queried."""
    labels: Labels | None = None
    """(m,) class indices of the labelled items; None: all 0."""
    label_explanations: Explanations | None = None
    """Explanations of the labels of the labelled items."""
    round: int = 1
    n_rounds: int = 1
    rows: Rows | None = None
    """Rows that a pass covers; None: all."""
    taken: frozenset[str] = frozenset()
    """Ids that a pass leaves out."""

    def among(self, rows: Rows) -> InMemoryPasses:
        """The same passes, restricted to `rows`."""
        return replace(self, rows=rows)

    def without(self, ids: Sequence[str]) -> InMemoryPasses:
        """The same passes, without the items `ids`."""
        return replace(self, taken=self.taken | set(ids))

    def top(self, strategy: Strategy, n: int, rng: HashRng, state: Any = None, stage: str = "score") -> Scored:
        """The n items with the highest scores; raises NumericalError if a score is not finite."""
        evidence = self._restricted(self._unlabelled(self.rows), strategy.needs, strategy.name)
        scores = np.asarray(strategy.score(evidence, state, rng), np.float64)
        if scores.shape != (len(evidence),):
            raise XalError(
                f"strategy '{strategy.name}': expected scores of shape ({len(evidence)},), got {scores.shape}; "
                "return one score per item"
            )
        if not np.isfinite(scores).all():
            raise NumericalError(f"strategy '{strategy.name}': expected finite scores, got NaN or infinity")
        return Scored(ids=evidence.ids, rows=evidence.rows, scores=scores, evidence=evidence).top(n)

    def with_evidence(self, items: Scored, strategy: Strategy) -> Scored:
        """The items with the evidence that `select_needs` names."""
        return replace(
            items, evidence=self._restricted(self.evidence.take(items.rows), strategy.select_needs, strategy.name)
        )

    def prepare(self, strategy: Strategy, budget: int, rng: HashRng) -> Any:
        """The strategy's state, from the labelled items, a random sample and the summary that it needs."""
        if not strategy.prepare_needs and strategy.summary_needs is None:
            return None
        needs = strategy.prepare_needs - {"label_explanations"}
        labelled = sample = summary = None
        if strategy.learns_from_labelled and len(self.labelled):
            labelled = Labelled(
                evidence=self._restricted(self.evidence.take(self.labelled), needs, strategy.name),
                labels=np.zeros(len(self.labelled), np.int64) if self.labels is None else self.labels,
                explanations=self.label_explanations,
            )
        size = strategy.n_sample(budget)
        if size:
            drawn = replace(self, rows=None).top(Random(), size, rng.child("sample"))
            sample = self._restricted(self.evidence.take(np.sort(drawn.rows)), needs, strategy.name)
        if strategy.summary_needs is not None:
            pool = self._restricted(self._unlabelled(None), strategy.summary_needs, strategy.name)
            for _ in range(strategy.n_summaries):
                summary = strategy.summarize(pool, summary)
        return strategy.prepare(labelled, sample, summary)

    def _unlabelled(self, rows: Rows | None) -> Evidence:
        """Evidence on the items, of all or of `rows`, that may be queried."""
        rows = np.arange(len(self.evidence)) if rows is None else rows
        free = ~np.isin(rows, self.labelled) & ~np.isin(self.evidence.ids[rows].astype(str), sorted(self.taken))
        return self.evidence.take(rows[free])

    @staticmethod
    def _restricted(evidence: Evidence, needs: frozenset[str], name: str) -> Evidence:
        """The evidence restricted to `needs`; raises XalError if a need was not passed."""
        missing = [need for need in sorted(needs) if getattr(evidence, need) is None]
        if missing:
            arguments = " and ".join(f"{need}=..." for need in missing)
            raise XalError(f"strategy '{name}' needs {', '.join(missing)}; pass {arguments}")
        needed: dict[str, Any] = {need: getattr(evidence, need) for need in needs}
        return Evidence(ids=evidence.ids, rows=evidence.rows, **needed)
