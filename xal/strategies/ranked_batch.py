"""Ranked batch: query uncertain items that are unlike anything labelled or chosen, one after the other.

Score = alpha (1 - s) + (1 - alpha) u, with s the largest similarity 1 / (1 + distance) to a labelled or chosen item,
u = 1 - p1, and alpha the share of unlabelled items among all: it explores first, and asks what is uncertain later.

T. Cardoso, R. Silva, S. Canuto, M. Moro, M. Goncalves, "Ranked batch-mode active learning", Information Sciences 2017;
as modAL has it. Of a larger pool, the sample counts as all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xal.strategies.joint import JointStrategy, Known, centred, evidence_of, nearest
from xal.strategies.strategy import embeddings_of, probabilities_of
from xal.types import Evidence, Rows, Scored


@dataclass(frozen=True, kw_only=True)
class RankedBatch(JointStrategy, name="ranked_batch"):
    """Query by uncertainty and distance, weighted by how much is unlabelled."""

    select_needs: ClassVar[frozenset[str]] = frozenset({"embeddings", "probabilities"})
    motive: ClassVar[str] = "it is unlike anything labelled, and uncertain"

    def vectors(self, evidence: Evidence) -> Any:
        """(b, d) embeddings as they are."""
        return embeddings_of(evidence)

    def choose(self, candidates: Scored, state: Known | None, budget: int) -> tuple[Rows, Sequence[str]]:
        """The best-scored, one after the other; the first is the most uncertain where nothing is labelled."""
        evidence = evidence_of(candidates)
        raw = self.vectors(evidence)
        points, labelled = centred(raw, np.empty((0, raw.shape[1])) if state is None else state.vectors)
        uncertainty = 1 - probabilities_of(evidence).max(axis=1).astype(np.float64)
        squares = np.full(len(points), np.inf) if state is None else nearest(points, labelled)[1]
        known = 0 if state is None else len(state.ids)
        chosen: list[int] = []
        notes = []
        for step in range(budget):
            left = len(points) - step
            alpha = left / (left + known + step)
            score = alpha * (1 - 1 / (1 + np.sqrt(squares))) + (1 - alpha) * uncertainty
            score[chosen] = -np.inf
            best = int(score.argmax() if np.isfinite(squares).any() else uncertainty.argmax())
            far = float(squares[best])
            notes.append("nothing is labelled yet" if np.isinf(far) else f"distance to the nearest {far**0.5:.3g}")
            chosen.append(best)
            np.minimum(squares, nearest(points, points[[best]])[1], out=squares)
        return np.array(chosen, np.int64), notes
