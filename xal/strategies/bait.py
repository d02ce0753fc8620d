"""BAIT: query the batch that tells most about the head's weights on the pool, by Fisher information.

Of the most probable class against the rest, F(x) = p1 (1 - p1) x x'. With M = lambda I + n / (n + B) F_L, F_L the mean
over the n labelled items and F_U over the pool, 2 B items are taken greedily so that trace(M^-1 F_U) falls most, where
an item adds B / (n + B) F(x) to M, and then B of them are removed, each the one that costs least.

J. Ash, S. Goel, A. Krishnamurthy, S. Kakade, "Gone fishing: neural active learning with Fisher embeddings", NeurIPS
2021, in its binary form with rank-one updates. F_U is summed over the whole pool; candidates can be a sample of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from xal.strategies.joint import JointStrategy, Known, evidence_of, unlike
from xal.strategies.strategy import Summary, probabilities_of
from xal.types import Evidence, Labelled, Rows, Scored

Matrix = npt.NDArray[np.float64]
ROWS = 2048  # points that are multiplied at once


@dataclass(frozen=True, eq=False, kw_only=True)
class Fisher:
    """What is known before the choice."""

    pool: Matrix
    """(d, d) F_U."""
    labelled: Matrix
    """(d, d) F_L; zeros where nothing is labelled."""
    known: Known | None


@dataclass(frozen=True, kw_only=True)
class Bait(JointStrategy, name="bait"):
    """Query the batch with the most Fisher information about the pool."""

    prepare_needs: ClassVar[frozenset[str]] = frozenset({"embeddings", "probabilities"})
    summary_needs: ClassVar[frozenset[str] | None] = frozenset({"embeddings", "probabilities"})
    select_needs: ClassVar[frozenset[str]] = frozenset({"embeddings", "probabilities"})
    motive: ClassVar[str] = "its label tells much about the others"

    regularisation: Annotated[float, Field(gt=0)] = 0.01
    """lambda. The paper's 1 is for embeddings longer than ours, which have length 1: it would outweigh all labels."""

    def summarize(self, evidence: Evidence, last: Summary | None) -> Summary:
        """The sum of F(x), and the number of items."""
        return {"fisher": self._information(evidence), "n": np.array(float(len(evidence)))}

    def prepare(self, labelled: Labelled | None, sample: Evidence | None, summary: Summary | None) -> Fisher | None:
        """F_U and F_L; None for an empty pool."""
        if summary is None:
            return None
        information = np.zeros_like(summary["fisher"], np.float64)
        if labelled is not None and len(labelled.labels):
            information = self._information(labelled.evidence) / len(labelled.labels)
        return Fisher(
            pool=summary["fisher"] / float(summary["n"]),
            labelled=information,
            known=super().prepare(labelled, sample, summary),
        )

    def choose(self, candidates: Scored, state: Any, budget: int) -> tuple[Rows, Sequence[str]]:
        """2 B items forward, then B of them backward."""
        evidence = evidence_of(candidates)
        points = self.vectors(evidence)
        n = 0 if state.known is None else len(state.known.ids)
        p = probabilities_of(evidence).max(axis=1).astype(np.float64)
        s = p * (1 - p) * budget / (n + budget)
        inverse = np.linalg.inv(self.regularisation * np.eye(points.shape[1]) + n / (n + budget) * state.labelled)
        order = most_informative(points, s, inverse, state.pool, budget)
        return order, unlike(points[order], state.known)

    def _information(self, evidence: Evidence) -> Matrix:
        """(d, d) sum of p1 (1 - p1) x x'."""
        points = self.vectors(evidence).astype(np.float64)
        p = probabilities_of(evidence).max(axis=1).astype(np.float64)
        return np.asarray((points * (p * (1 - p))[:, None]).T @ points)


def most_informative(
    points: npt.NDArray[np.float32], s: npt.NDArray[np.float64], inverse: Matrix, pool: Matrix, budget: int
) -> Rows:
    """Positions of `budget` points: greedily for M^-1 = inverse, M += s x x', by the fall of trace(M^-1 F_U).

    With a(x) = x' M^-1 F_U M^-1 x and b(x) = x' M^-1 x, the trace falls by s a / (1 + s b) where x is added, and grows
    by s a / (1 - s b) where it is removed. a and b of all points are updated by two products a step.
    """
    n, wide = len(points), points.astype(np.float64)  # in float32, errors would add up over the steps
    a, b = np.empty(n), np.empty(n)
    for start in range(0, n, ROWS):
        part = slice(start, start + ROWS)
        projected = wide[part] @ inverse
        a[part] = np.einsum("nd,nd->n", projected @ pool, projected)
        b[part] = np.einsum("nd,nd->n", projected, wide[part])
    chosen: list[int] = []
    taken = np.zeros(n, bool)
    for _ in range(min(2 * budget, n)):
        gains = s * a / (1 + s * b)
        gains[taken] = -np.inf
        best = int(gains.argmax())
        chosen.append(best)
        taken[best] = True
        v = inverse @ wide[best]
        scale = s[best] / (1 + s[best] * b[best])
        moved = inverse @ (pool @ v)
        along, across = (wide @ np.stack([v, moved], axis=1)).T
        a += -2 * scale * along * across + (scale * along) ** 2 * float(v @ pool @ v)
        b -= scale * along**2
        inverse = inverse - scale * np.outer(v, v)
    kept = wide[chosen]
    projected = kept @ inverse
    while len(chosen) > min(budget, n):
        cost = s[chosen] * np.einsum("nd,nd->n", projected @ pool, projected)
        cost /= 1 - s[chosen] * np.einsum("nd,nd->n", projected, kept)
        worst = int(cost.argmin())
        removed = chosen.pop(worst)
        v = projected[worst]
        scale = s[removed] / (1 - s[removed] * float(v @ kept[worst]))
        kept, projected = np.delete(kept, worst, axis=0), np.delete(projected, worst, axis=0)
        projected = projected + scale * np.outer(kept @ v, v)
    return np.array(chosen, np.int64)
