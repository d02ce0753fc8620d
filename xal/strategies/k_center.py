"""k-center greedy (core-set): query the item farthest from all labelled and chosen ones. For comparison; it loses on
most data, because outliers are far from everything.

O. Sener, S. Savarese, "Active learning for convolutional neural networks: a core-set approach", ICLR 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xal.strategies.joint import JointStrategy, Known, centred, evidence_of, nearest
from xal.strategies.strategy import embeddings_of
from xal.types import Evidence, Rows, Scored


@dataclass(frozen=True, kw_only=True)
class KCenter(JointStrategy, name="k_center"):
    """Query what is farthest from everything labelled or chosen, by Euclidean distance."""

    motive: ClassVar[str] = "it is far from everything labelled"

    def vectors(self, evidence: Evidence) -> Any:
        """(b, d) embeddings as they are."""
        return embeddings_of(evidence)

    def choose(self, candidates: Scored, state: Known | None, budget: int) -> tuple[Rows, Sequence[str]]:
        """Farthest first, with the distance to the nearest; the first candidate where nothing is labelled."""
        raw = self.vectors(evidence_of(candidates))
        points, known = centred(raw, np.empty((0, raw.shape[1])) if state is None else state.vectors)
        squares = np.einsum("nd,nd->n", points, points)
        distances = np.full(len(points), np.inf, np.float32)
        if state is not None:
            distances = nearest(points, known)[1]
        chosen: list[int] = []
        notes = []
        for _ in range(budget):
            best = int(distances.argmax())
            chosen.append(best)
            far = float(distances[best])
            notes.append("nothing is labelled yet" if np.isinf(far) else f"distance to the nearest {far**0.5:.3g}")
            new = points @ (-2 * points[best])  # in place, as this is all the time it takes
            new += squares
            new += squares[best]
            np.maximum(new, 0, out=new)
            np.minimum(distances, new, out=distances)
            distances[chosen] = -1  # not twice, though others may lie at distance 0
        return np.array(chosen, np.int64), notes
