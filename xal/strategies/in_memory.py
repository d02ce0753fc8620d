"""Passes over a pool that lies in arrays: what `xal.query` and tests ask a strategy with."""

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
    """See `xal.strategies.strategy.Passes`; all evidence is there from the start."""

    evidence: Evidence
    """On all n items."""
    labelled: Rows
    """Positions of labelled items, which are not queried."""
    labels: Labels | None = None
    """(m,) class indices of the labelled items; None: unknown."""
    label_explanations: Explanations | None = None
    """Of the labelled items' labels."""
    round: int = 1
    n_rounds: int = 1
    rows: Rows | None = None
    taken: frozenset[str] = frozenset()

    def among(self, rows: Rows) -> InMemoryPasses:
        """The same, of these rows alone."""
        return replace(self, rows=rows)

    def without(self, ids: Sequence[str]) -> InMemoryPasses:
        """The same, without these items."""
        return replace(self, taken=self.taken | set(ids))

    def top(self, strategy: Strategy, n: int, rng: HashRng, state: Any = None, stage: str = "score") -> Scored:
        """The n items that score highest; NumericalError for scores that are not finite."""
        given = self._for(self._open(self.rows), strategy.needs, strategy.name)
        scores = np.asarray(strategy.score(given, state, rng), np.float64)
        if scores.shape != (len(given),):
            raise XalError(f"strategy '{strategy.name}' gave scores of shape {scores.shape} for {len(given)} items")
        if not np.isfinite(scores).all():
            raise NumericalError(f"strategy '{strategy.name}' gave scores that are not finite")
        return Scored(ids=given.ids, rows=given.rows, scores=scores, evidence=given).top(n)

    def with_evidence(self, items: Scored, strategy: Strategy) -> Scored:
        """The items with what `select_needs` names."""
        return replace(items, evidence=self._for(self.evidence.take(items.rows), strategy.select_needs, strategy.name))

    def prepare(self, strategy: Strategy, budget: int, rng: HashRng) -> Any:
        """The strategy's state."""
        if not strategy.prepare_needs and strategy.summary_needs is None:
            return None
        needs = strategy.prepare_needs - {"label_explanations"}
        labelled = sample = summary = None
        if strategy.learns_from_labelled and len(self.labelled):
            labelled = Labelled(
                evidence=self._for(self.evidence.take(self.labelled), needs, strategy.name),
                labels=np.zeros(len(self.labelled), np.int64) if self.labels is None else self.labels,
                explanations=self.label_explanations,
            )
        size = strategy.n_sample(budget)
        if size:
            drawn = replace(self, rows=None).top(Random(), size, rng.child("sample"))
            sample = self._for(self.evidence.take(np.sort(drawn.rows)), needs, strategy.name)
        if strategy.summary_needs is not None:
            pool = self._for(self._open(None), strategy.summary_needs, strategy.name)
            for _ in range(strategy.n_summaries):
                summary = strategy.summarize(pool, summary)
        return strategy.prepare(labelled, sample, summary)

    def _open(self, rows: Rows | None) -> Evidence:
        """Evidence on the items that may be queried."""
        chosen = np.arange(len(self.evidence)) if rows is None else rows
        free = ~np.isin(chosen, self.labelled) & ~np.isin(self.evidence.ids[chosen].astype(str), sorted(self.taken))
        return self.evidence.take(chosen[free])

    @staticmethod
    def _for(evidence: Evidence, needs: frozenset[str], name: str) -> Evidence:
        """Nothing but what is asked for; XalError where it was not given."""
        missing = [need for need in sorted(needs) if getattr(evidence, need) is None]
        if missing:
            given = " and ".join(f"{need}=..." for need in missing)
            raise XalError(f"strategy '{name}' needs {', '.join(missing)}; pass {given}")
        shown: dict[str, Any] = {need: getattr(evidence, need) for need in needs}
        return Evidence(ids=evidence.ids, rows=evidence.rows, **shown)
