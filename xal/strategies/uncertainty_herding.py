"""Uncertainty herding: cover the pool, weighted by how uncertain the model is.

Greedy argmax_c sum_x u(x) [k(x, c) - m(x)]_+ with u = 1 - (p1 - p2), the top two probabilities, m(x) the largest
similarity to a labelled or chosen item, and the kernel's width h the smallest distance between two labelled items: it
covers widely while labels are few, and follows the uncertainty when they are dense.

W. Bae, G. Oliveira, D. Sutherland, "Uncertainty herding: one active learning method for all label budgets", ICLR 2025.
Of larger pools, a random sample stands for the candidates and for what is covered. The paper fits a temperature to a
held-out part of the labels; our heads are calibrated by cross-validation instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from xal.core.rng import HashRng
from xal.strategies.herding import Vectors, cover, unit
from xal.strategies.strategy import Scores, Strategy, Summary, embeddings_of, probabilities_of
from xal.types import Evidence, Labelled, Scored

LABELLED = 10_000  # labelled items whose distances decide the width of the kernel, at most


@dataclass(frozen=True, kw_only=True)
class UncertaintyHerding(Strategy, name="uncertainty_herding"):
    """Query what resembles many uncertain items, and nothing that is labelled already."""

    needs: ClassVar[frozenset[str]] = frozenset()
    prepare_needs: ClassVar[frozenset[str]] = frozenset({"embeddings"})
    select_needs: ClassVar[frozenset[str]] = frozenset({"embeddings", "probabilities"})
    learns_from_labelled: ClassVar[bool] = True

    sample: Annotated[int, Field(ge=1, le=10**6)] = 20_000
    """Items drawn at random that are both the candidates and what is to be covered; time grows with its square."""

    def n_shortlist(self, budget: int) -> int:
        """The field `sample`, at least `budget`."""
        return max(self.sample, budget)

    def prepare(self, labelled: Labelled | None, sample: Evidence | None, summary: Summary | None) -> Vectors | None:
        """(m, d) vectors of the labelled items, of length 1; None: there are none."""
        return None if labelled is None else unit(embeddings_of(labelled.evidence))

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        """(b,) random numbers, which draw the sample."""
        return rng.uniform(evidence.ids)

    def select(self, shortlist: Scored, state: Vectors | None, budget: int) -> Scored:
        """The greedy choice among the sample; scores fall from `budget` to 1."""
        if shortlist.evidence is None:
            return Scored.empty()
        by_id = np.argsort(shortlist.ids.astype(str), kind="stable")  # equals are told apart by id
        evidence = shortlist.evidence.take(by_id)
        points = unit(embeddings_of(evidence))
        labelled = np.empty((0, points.shape[1]), np.float32) if state is None else state
        order = cover(points, self.weights(evidence), labelled, budget, self.width(labelled))
        chosen = shortlist.take(by_id[order])
        scores = np.arange(len(chosen), 0, -1, dtype=np.float64)
        return Scored(ids=chosen.ids, rows=chosen.rows, scores=scores, evidence=chosen.evidence)

    def weights(self, evidence: Evidence) -> Scores:
        """(b,) u = 1 - (p1 - p2)."""
        top = np.partition(probabilities_of(evidence), -2, axis=1)[:, -2:].astype(np.float64)
        return np.asarray(1 - (top[:, 1] - top[:, 0]))

    def width(self, labelled: Vectors) -> float:
        """The smallest distance above 0 between two labelled vectors; 1 if there is none."""
        points = labelled[:LABELLED]
        smallest = np.inf
        for start in range(0, len(points), 1024):
            part = points[start : start + 1024]
            distances = np.maximum(2 - 2 * (part @ points.T), 0)
            distances[distances < 1e-6] = np.inf  # of an item to itself, or to an equal one
            smallest = min(smallest, float(distances.min(initial=np.inf)))
        return float(np.sqrt(smallest)) if np.isfinite(smallest) else 1.0
