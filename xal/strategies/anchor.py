"""Anchors: run a strategy among the neighbours of labelled items of each class, so that rare classes are met.

For each of the classes with the fewest labels, up to `anchors` labelled items, each the farthest from those before,
stand for the class. The sub-pool is made of equally many items of each class: those nearest to one of its anchors.

P. Lesci, A. Vlachos, "AnchorAL: computationally efficient active learning for large and imbalanced datasets", NAACL
2024, which draws anchors by k-means++. One pass over the pool for each class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from xal.core.rng import HashRng
from xal.strategies.joint import Vectors, nearest, unit
from xal.strategies.margin import Margin
from xal.strategies.strategy import Passes, Scores, Strategy, Summary, Wrapper, embeddings_of
from xal.types import Evidence, Labelled, Query


@dataclass(frozen=True, kw_only=True)
class Anchor(Wrapper, name="anchor"):
    """Run `strategy` on the nearest neighbours of labelled items of the rarest classes."""

    prepare_needs: ClassVar[frozenset[str]] = frozenset({"embeddings"})
    learns_from_labelled: ClassVar[bool] = True

    strategy: Strategy = field(default_factory=Margin)
    """The strategy that chooses from the sub-pool."""
    n: Annotated[int, Field(ge=1)] = 1000
    """Items of the sub-pool."""
    anchors: Annotated[int, Field(ge=1)] = 10
    """Labelled items that stand for a class."""
    classes: Annotated[int, Field(ge=1)] = 20
    """Classes, those with the fewest labels."""

    def wrapped(self) -> tuple[Strategy, ...]:
        """`strategy`."""
        return (self.strategy,)

    def n_candidates(self, budget: int) -> int:
        """`n`."""
        return self.n

    def prepare(
        self, labelled: Labelled | None, sample: Evidence | None, summary: Summary | None
    ) -> Mapping[int, Vectors]:
        """(a, d) anchors by class index, the rarest class first; empty where nothing is labelled."""
        if labelled is None:
            return {}
        vectors = unit(embeddings_of(labelled.evidence))
        found, counts = np.unique(labelled.labels, return_counts=True)
        rarest = found[np.lexsort((found, counts))][: self.classes]
        return {int(label): _spread(vectors[labelled.labels == label], self.anchors) for label in rarest}

    def query(self, passes: Passes, budget: int, rng: HashRng) -> Query:
        """The query of `strategy` in the sub-pool; in the whole pool where nothing is labelled."""
        anchors = passes.prepare(self, budget, rng)
        rows = np.empty(0, np.int64)
        for label, vectors in anchors.items():
            share = max(-(-self.n // len(anchors)), -(-budget // len(anchors)))
            near = passes.top(_Near(), share, rng.child("anchor", label), vectors, stage="anchors")
            rows = np.union1d(rows, near.rows)
        if len(rows) < budget:  # classes share their neighbours, or nothing is labelled
            return self.strategy.query(passes, budget, rng)
        query = self.strategy.query(passes.among(rows), budget, rng)
        return query.noted(f"near labelled items of the {len(anchors)} rarest classes")


@dataclass(frozen=True, kw_only=True)
class _Near(Strategy):
    """Scores by the nearest anchor."""

    needs: ClassVar[frozenset[str]] = frozenset({"embeddings"})

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        """(b,) minus the distance to the nearest anchor."""
        return -np.sqrt(nearest(unit(embeddings_of(evidence)), state)[1]).astype(np.float64)


_Near.name = "anchor"


def _spread(vectors: Vectors, n: int) -> Vectors:
    """(a, d) at most n of the vectors, each the farthest from those before, from the first on."""
    chosen = [0]
    distances = nearest(vectors, vectors[:1])[1]
    while len(chosen) < min(n, len(vectors)):
        chosen.append(int(distances.argmax()))
        distances = np.minimum(distances, nearest(vectors, vectors[chosen[-1:]])[1])
    return vectors[chosen]
