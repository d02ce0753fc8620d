"""Uncertainty herding: cover the pool, weighted by how uncertain the model is.

Greedy argmax_c sum_x u(x) [k(x, c) - m(x)]_+ with u = 1 - (p1 - p2), the top two probabilities, m(x) the largest
similarity to a labelled or chosen item, and the kernel's width h the smallest distance between two labelled items: it
covers widely while labels are few, and follows the uncertainty when they are dense.

W. Bae, G. Oliveira, D. Sutherland, "Uncertainty herding: one active learning method for all label budgets", ICLR 2025.
Of larger pools, a random sample stands for the candidates and for what is covered; time grows with its square. The
paper fits a temperature to a held-out part of the labels; here, heads on kept vectors are calibrated by
cross-validation, and the probabilities of networks are taken as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xal.strategies.herding import cover, followers
from xal.strategies.joint import JointStrategy, Known, Vectors, evidence_of, squared_distances, unlike
from xal.strategies.strategy import Scores, margins
from xal.types import Evidence, Rows, Scored

ROWS = 1024  # labelled items whose distances are in memory together
LABELLED = 4096  # labelled items whose distances decide the width of the kernel, at most
EQUAL = 1e-4  # squared distance up to which vectors count as equal: float32 has 1e-7 of it


@dataclass(frozen=True, kw_only=True)
class UncertaintyHerding(JointStrategy, name="uncertainty_herding"):
    """Query what resembles many uncertain items, and nothing that is labelled already."""

    select_needs: ClassVar[frozenset[str]] = frozenset({"embeddings", "probabilities"})
    weighs_equals: ClassVar[bool] = True
    motive: ClassVar[str] = "many uncertain items resemble it"

    def choose(self, candidates: Scored, state: Known | None, budget: int) -> tuple[Rows, Sequence[str]]:
        """The greedy choice; for how many candidates each stands, and its nearest labelled item."""
        evidence = evidence_of(candidates)
        points = self.vectors(evidence)
        labelled = np.empty((0, points.shape[1]), np.float32) if state is None else state.vectors
        order = cover(points, self.weights(evidence), labelled, budget, self.width(labelled))
        counts = followers(points, points[order], labelled)
        near = unlike(points[order], state)
        notes = [f"nearest to {n} of {len(points)} items; {text}" for n, text in zip(counts, near, strict=True)]
        return order, notes

    def weights(self, evidence: Evidence) -> Scores:
        """(b,) u = 1 - (p1 - p2)."""
        return np.asarray(1 - margins(evidence))

    def width(self, labelled: Vectors) -> float:
        """The smallest distance above .01 between two of the first 4,096 labelled vectors; 1 if there is none."""
        points = labelled[:LABELLED]
        smallest = np.inf
        for start in range(0, len(points), ROWS):
            squares = squared_distances(points[start : start + ROWS], points)
            smallest = min(smallest, float(squares[squares > EQUAL].min(initial=np.inf)))
        return float(np.sqrt(smallest)) if np.isfinite(smallest) else 1.0
