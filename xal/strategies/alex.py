"""ALEX (Mondal & Ganguly): among uncertain items, query those explained most differently from the labelled items.

A cheap pass by uncertainty chooses k = 3 q candidates. The explanations of candidates and of the labelled items S are
turned into distributions p = (|phi| + eps) / sum(|phi| + eps). The score of a candidate is the mean over S of its
divergence from the labelled items,

    KL:      mean_s sum_j p_j log(p_j / p_sj) = sum_j p_j log p_j - p . m,    m = mean_s log p_s
    cosine:  mean_s (1 - p . p_s / |p| |p_s|) = 1 - (p / |p|) . m,            m = mean_s p_s / |p_s|

so the coordinator only computes one vector m from S, and shards score candidates independently: O((|S| + k) f) instead
of O(k |S| f). Scores are in nats (KL) or in [0, 1] (cosine). Candidates that are not chosen return to the pool.

Departure: the paper does not specify how explanations become distributions; its authors' scripts use the cosine
distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import sparse

from xal.core.rng import HashRng
from xal.errors import XalError
from xal.strategies.candidates import narrowed
from xal.strategies.entropy import Entropy
from xal.strategies.least_confidence import LeastConfidence
from xal.strategies.strategy import Passes, Scores, Strategy, Summary
from xal.types import Evidence, Explanations, Labelled, Matrix, Query

EPS = 1e-8


class Mean(NamedTuple):
    """The labelled explanations, summarised as the vector m and its sum."""

    m: npt.NDArray[np.float64]  # (f,)
    total: float


@dataclass(frozen=True, kw_only=True)
class Alex(Strategy, name="alex"):
    """Query items whose explanations differ from those of the labelled items."""

    motive: ClassVar[str] = "it is explained unlike the labelled items"

    needs: ClassVar[frozenset[str]] = frozenset({"explanations"})
    prepare_needs: ClassVar[frozenset[str]] = frozenset({"explanations"})
    learns_from_labelled: ClassVar[bool] = True

    candidates: Annotated[int, Field(ge=1)] = 3
    """Candidates per queried item (k / q)."""
    uncertainty: Literal["least_confidence", "entropy"] = "least_confidence"
    """Strategy that chooses the candidates."""
    divergence: Literal["kl", "cosine"] = "kl"
    """Divergence between explanations."""

    def parts(self) -> tuple[Strategy, ...]:
        """This strategy, and the one that chooses the candidates."""
        return self, self._chooser()

    def n_candidates(self, budget: int) -> int:
        """`candidates` per queried item."""
        return self.candidates * budget

    def query(self, passes: Passes, budget: int, rng: HashRng) -> Query:
        """The query among `candidates` items per queried item."""
        return super().query(narrowed(passes, self._chooser(), self.candidates * budget, rng), budget, rng)

    def _chooser(self) -> Strategy:
        return LeastConfidence() if self.uncertainty == "least_confidence" else Entropy()

    def prepare(self, labelled: Labelled | None, sample: Evidence | None, summary: Summary | None) -> Mean:
        """m and its sum; raises XalError if no labelled item can be explained."""
        if labelled is None or labelled.evidence.explanations is None or not len(labelled.evidence):
            raise XalError(
                "alex needs explanations of labelled items, but no labelled item can be explained; label some"
            )
        vectors = _vectors(labelled.evidence.explanations)
        p_zero, p_stored = _distribution(vectors)
        if self.divergence == "kl":
            m = _column_sums(vectors, np.log(p_stored), np.log(p_zero))
        else:
            norm = _norm(vectors, p_stored, p_zero)
            m = _column_sums(vectors, p_stored / norm[_rows(vectors)], p_zero / norm)
        m /= len(p_zero)
        return Mean(m, float(m.sum()))

    def score(self, evidence: Evidence, state: Mean, rng: HashRng) -> Scores:
        """(b,) mean divergence from the labelled items, in nats (KL) or in [0, 1] (cosine)."""
        if evidence.explanations is None:
            raise TypeError("this evidence holds no explanations: list them in the strategy's `needs`")
        vectors = _vectors(evidence.explanations)
        if vectors.shape[1] != len(state.m):
            raise XalError(
                f"expected explanations of {len(state.m)} features, as of the labelled items, got {vectors.shape[1]}"
            )
        p_zero, p_stored = _distribution(vectors)
        rows, columns = _rows(vectors), vectors.indices
        n = len(p_zero)
        dot = np.bincount(rows, (p_stored - p_zero[rows]) * state.m[columns], n) + p_zero * state.total
        if self.divergence == "cosine":
            return np.asarray(1 - dot / _norm(vectors, p_stored, p_zero))
        n_zeros = vectors.shape[1] - np.diff(vectors.indptr)
        sum_p_log_p = np.bincount(rows, p_stored * np.log(p_stored), n) + n_zeros * p_zero * np.log(p_zero)
        return np.asarray(sum_p_log_p - dot)


def _vectors(explanations: Explanations) -> Matrix:
    return sparse.csr_array(explanations.vectors)


def _rows(vectors: Matrix) -> npt.NDArray[np.int64]:
    """(m,) row of each stored value."""
    return np.repeat(np.arange(vectors.shape[0]), np.diff(vectors.indptr))


def _distribution(vectors: Matrix) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """((b,) p of each item's features with phi = 0, (m,) p of the stored values)."""
    rows, weight = _rows(vectors), np.abs(vectors.data)
    total = np.bincount(rows, weight, vectors.shape[0]) + EPS * vectors.shape[1]
    return EPS / total, (weight + EPS) / total[rows]


def _norm(
    vectors: Matrix, p_stored: npt.NDArray[np.float64], p_zero: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(b,) |p|."""
    n_zeros = vectors.shape[1] - np.diff(vectors.indptr)
    return np.asarray(np.sqrt(np.bincount(_rows(vectors), p_stored**2, vectors.shape[0]) + n_zeros * p_zero**2))


def _column_sums(
    vectors: Matrix, stored: npt.NDArray[np.float64], zero: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(f,) sums over the items: `stored` (m,) for stored values, `zero` (b,) for the others."""
    rows = _rows(vectors)
    differences = np.bincount(vectors.indices, stored - zero[rows], vectors.shape[1])
    return np.asarray(differences + zero.sum())
