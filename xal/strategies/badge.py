"""BADGE: query items whose gradients of the last layer are large and differ from each other.

The gradient of the loss for the predicted class is g = a (x) h, with a = p - onehot(predicted) and h the embedding.
k-means++ starts at the largest gradient and draws each next item with probability proportional to its squared distance
to those chosen. Distances factorise, <g, g'> = (a . a') (h . h'), so nothing of size classes x dimensions is built.

J. Ash, C. Zhang, A. Krishnamurthy, J. Langford, A. Agarwal, "Deep batch active learning by diverse, uncertain gradient
lower bounds", ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xal.strategies.joint import JointStrategy, Known, evidence_of, generator_of
from xal.strategies.strategy import embeddings_of, probabilities_of
from xal.types import Rows, Scored


@dataclass(frozen=True, kw_only=True)
class Badge(JointStrategy, name="badge"):
    """Query by k-means++ on gradients: what would change the model much, each in another way."""

    prepare_needs: ClassVar[frozenset[str]] = frozenset()
    select_needs: ClassVar[frozenset[str]] = frozenset({"embeddings", "probabilities"})
    learns_from_labelled: ClassVar[bool] = False
    motive: ClassVar[str] = "its label would change the model in a way of its own"

    def choose(self, candidates: Scored, state: Known | None, budget: int) -> tuple[Rows, Sequence[str]]:
        """Centres of k-means++, in the order they are drawn; where all gradients are equal, at random."""
        evidence, generator = evidence_of(candidates), generator_of(candidates)
        h = np.asarray(embeddings_of(evidence), np.float32)
        a = np.asarray(probabilities_of(evidence), np.float32).copy()
        a[np.arange(len(a)), a.argmax(axis=1)] -= 1
        squares = np.einsum("nc,nc->n", a, a) * np.einsum("nd,nd->n", h, h)
        largest = float(squares.max(initial=0))
        distances = np.full(len(h), np.inf)
        taken = np.zeros(len(h), bool)
        chosen: list[int] = []
        for _ in range(budget):
            if not chosen:
                drawn = int(squares.argmax())
            else:
                weights = np.where(taken | (distances <= 1e-6 * largest), 0.0, distances)
                if not weights.any():
                    weights = np.where(taken, 0.0, 1.0)
                total = np.cumsum(weights)
                drawn = int(np.searchsorted(total, generator.random() * total[-1], side="right"))
            chosen.append(drawn)
            taken[drawn] = True
            products = (a @ a[drawn]) * (h @ h[drawn])
            np.minimum(distances, np.maximum(squares + squares[drawn] - 2 * products, 0), out=distances)
        length = np.sqrt(squares[chosen])
        return np.array(chosen, np.int64), [f"length of its gradient {value:.3g}" for value in length.tolist()]
