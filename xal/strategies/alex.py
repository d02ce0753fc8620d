"""ALEX (Mondal & Ganguly): of the least certain items, query those explained most unlike what is labelled.

k = 3 q candidates come from a cheap pass by uncertainty. Their explanations, and those of the labelled items S, as
distributions p = (|phi| + eps) / sum(|phi| + eps), are compared: an item scores the mean over S of its divergence
from them,

    KL:      mean_s sum_j p_j log(p_j / p_sj) = sum_j p_j log p_j - p . m,    m = mean_s log p_s
    cosine:  mean_s (1 - p . p_s / |p| |p_s|) = 1 - (p / |p|) . m,            m = mean_s p_s / |p_s|

so the coordinator needs one vector m of S, and shards score candidates on their own: O((|S| + k) f), not O(k |S| f).
Scores are in nats (KL) or in [0, 1] (cosine). Candidates that are not chosen return to the pool.

Departure: the paper does not say how explanations become distributions; its authors' scripts use the cosine distance.
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
    """The labelled explanations as one vector, and its sum."""

    m: npt.NDArray[np.float64]  # (f,)
    total: float


@dataclass(frozen=True, kw_only=True)
class Alex(Strategy, name="alex"):
    """Query items whose explanations differ from those of the labelled ones."""

    needs: ClassVar[frozenset[str]] = frozenset({"explanations"})
    prepare_needs: ClassVar[frozenset[str]] = frozenset({"explanations"})
    learns_from_labelled: ClassVar[bool] = True

    candidates: Annotated[int, Field(ge=1)] = 3
    """k: candidates a queried item."""
    uncertainty: Literal["least_confidence", "entropy"] = "least_confidence"
    """What chooses the candidates."""
    divergence: Literal["kl", "cosine"] = "kl"
    """Between explanations."""

    def parts(self) -> tuple[Strategy, ...]:
        """Itself, and what chooses the candidates."""
        return self, self._chooser()

    def query(self, passes: Passes, budget: int, rng: HashRng) -> Query:
        """Of k candidates a queried item."""
        return super().query(narrowed(passes, self._chooser(), self.candidates * budget, rng), budget, rng)

    def _chooser(self) -> Strategy:
        return LeastConfidence() if self.uncertainty == "least_confidence" else Entropy()

    def prepare(self, labelled: Labelled | None, sample: Evidence | None, summary: Summary | None) -> Mean:
        """m of the labelled items."""
        if labelled is None or labelled.evidence.explanations is None or not len(labelled.evidence):
            raise XalError("alex compares with explanations of labelled items, and none can be explained; label some")
        vectors = _vectors(labelled.evidence.explanations)
        rest, data = _distribution(vectors)
        if self.divergence == "kl":
            m = _column_sums(vectors, np.log(data), np.log(rest))
        else:
            length = _length(vectors, data, rest)
            m = _column_sums(vectors, data / length[_rows(vectors)], rest / length)
        m /= len(rest)
        return Mean(m, float(m.sum()))

    def score(self, evidence: Evidence, state: Mean, rng: HashRng) -> Scores:
        """(b,) mean divergence from the labelled items."""
        if evidence.explanations is None:
            raise TypeError("this evidence holds no explanations: list them in the strategy's `needs`")
        vectors = _vectors(evidence.explanations)
        if vectors.shape[1] != len(state.m):
            raise XalError(f"explanations of {vectors.shape[1]} features cannot be compared with {len(state.m)}")
        rest, data = _distribution(vectors)
        rows, columns = _rows(vectors), vectors.indices
        n = len(rest)
        dot = np.bincount(rows, (data - rest[rows]) * state.m[columns], n) + rest * state.total
        if self.divergence == "cosine":
            return np.asarray(1 - dot / _length(vectors, data, rest))
        absent = vectors.shape[1] - np.diff(vectors.indptr)
        own = np.bincount(rows, data * np.log(data), n) + absent * rest * np.log(rest)
        return np.asarray(own - dot)


def _vectors(explanations: Explanations) -> Matrix:
    return sparse.csr_array(explanations.vectors)


def _rows(vectors: Matrix) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(vectors.shape[0]), np.diff(vectors.indptr))


def _distribution(vectors: Matrix) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """((b,) p of the features whose phi is 0, p of the stored ones)."""
    rows, weight = _rows(vectors), np.abs(vectors.data)
    total = np.bincount(rows, weight, vectors.shape[0]) + EPS * vectors.shape[1]
    return EPS / total, (weight + EPS) / total[rows]


def _length(vectors: Matrix, data: npt.NDArray[np.float64], rest: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(b,) |p|."""
    absent = vectors.shape[1] - np.diff(vectors.indptr)
    return np.asarray(np.sqrt(np.bincount(_rows(vectors), data**2, vectors.shape[0]) + absent * rest**2))


def _column_sums(
    vectors: Matrix, data: npt.NDArray[np.float64], rest: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(f,) sums over the items of `data` where stored, and of `rest` elsewhere."""
    rows = _rows(vectors)
    stored = np.bincount(vectors.indices, data - rest[rows], vectors.shape[1])
    return np.asarray(stored + rest.sum())
