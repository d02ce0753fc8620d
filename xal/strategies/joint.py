"""Base of the strategies that choose the items of a batch together, and what several of them need.

They see the whole pool, or a random sample of it where it is larger than `sample`, with its evidence. Sample and choice
depend on seed, round and ids alone, so they are the same on every engine and for any sharding.
"""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from xal.core.rng import HashRng
from xal.strategies.strategy import Scores, Strategy, Summary, embeddings_of
from xal.types import Evidence, Ids, Labelled, Rows, Scored

Vectors = npt.NDArray[np.float32]
CELLS = 2**22  # distances or similarities in memory


@dataclass(frozen=True, eq=False, kw_only=True)
class Known:
    """The labelled items, as the strategy compares items."""

    ids: Ids  # (m,)
    vectors: npt.NDArray[np.floating]  # (m, d)


@dataclass(frozen=True, kw_only=True)
class JointStrategy(Strategy):
    """Base: chooses among all candidates at once, with their evidence and the vectors of the labelled items."""

    needs: ClassVar[frozenset[str]] = frozenset()
    prepare_needs: ClassVar[frozenset[str]] = frozenset({"embeddings"})
    select_needs: ClassVar[frozenset[str]] = frozenset({"embeddings"})
    learns_from_labelled: ClassVar[bool] = True

    weighs_equals: ClassVar[bool] = False
    """Whether `choose` sees equal vectors, and by itself takes none twice while others are left."""

    sample: Annotated[int, Field(ge=1, le=10**6)] = 20_000
    """Number of candidates, drawn at random from a larger pool; their embeddings must fit into memory."""

    def n_shortlist(self, budget: int) -> int:
        """The field `sample`, at least `budget`."""
        return max(self.sample, budget)

    def prepare(self, labelled: Labelled | None, sample: Evidence | None, summary: Summary | None) -> Any:
        """The labelled items as `Known`; None: there are none."""
        if labelled is None:
            return None
        return Known(ids=labelled.evidence.ids, vectors=self.vectors(labelled.evidence))

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        """(b,) random numbers, which draw the candidates."""
        return rng.uniform(evidence.ids)

    def select(self, shortlist: Scored, state: Any, budget: int) -> Scored:
        """The items that `choose` names; scores fall from `budget` to 1. Equal vectors come after all others."""
        if shortlist.evidence is None:
            return Scored.empty()
        left = shortlist.take(np.argsort(shortlist.ids.astype(str), kind="stable"))  # equals are told apart by id
        parts = []
        while budget and len(left):
            first = np.arange(len(left))
            if not self.weighs_equals:
                first = first_of_equals(np.asarray(embeddings_of(evidence_of(left)), np.float32))
            offered = left.take(first)
            order, notes = self.choose(offered, state, min(budget, len(offered)))
            parts.append(replace(offered.take(order), notes=np.array(notes, object)))
            budget -= len(order)
            left = left.take(np.setdiff1d(np.arange(len(left)), first))
        chosen = Scored.concatenate(parts)
        return replace(chosen, scores=np.arange(len(chosen), 0, -1, dtype=np.float64))

    def vectors(self, evidence: Evidence) -> Vectors:
        """(b, d) by which items are compared: embeddings of length 1."""
        return unit(embeddings_of(evidence))

    @abstractmethod
    def choose(self, candidates: Scored, state: Any, budget: int) -> tuple[Rows, Sequence[str]]:
        """Positions of `budget` candidates, best first, and what to say of each; candidates are sorted by id."""


def unit(vectors: npt.ArrayLike) -> Vectors:
    """(n, d) vectors divided by their lengths; vectors of zeros stay."""
    given = np.asarray(vectors, np.float32)
    length = np.linalg.norm(given, axis=1, keepdims=True)
    return np.asarray(given / np.where(length > 0, length, 1))


def first_of_equals(vectors: Vectors) -> Rows:
    """(u,) positions of the first of each set of equal vectors, ascending."""
    rows = np.ascontiguousarray(vectors + 0.0)  # -0 and 0 are equal
    _, first = np.unique(rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel(), return_index=True)
    return np.sort(first)


def evidence_of(candidates: Scored) -> Evidence:
    """The evidence of a shortlist; raises TypeError if it has none."""
    if candidates.evidence is None:
        raise TypeError("this shortlist has no evidence: list it in the strategy's `select_needs`")
    return candidates.evidence


def generator_of(candidates: Scored) -> np.random.Generator:
    """A random generator, seeded by the hashes that drew the candidates: by seed, round and ids."""
    return np.random.default_rng(zlib.crc32(np.ascontiguousarray(candidates.scores).tobytes()))


def squared_distances(one: Vectors, other: Vectors) -> Vectors:
    """(n, m) squared Euclidean distances of vectors (n, d) and (m, d), at least 0."""
    squares = np.einsum("nd,nd->n", one, one)[:, None] + np.einsum("md,md->m", other, other)
    return np.asarray(np.maximum(squares - 2 * (one @ other.T), 0, out=squares))


def nearest(points: Vectors, to: Vectors) -> tuple[Rows, Vectors]:
    """((n,) position, (n,) squared distance) of the nearest of `to` (m, d) to each point, the first of equals."""
    where, distance = np.zeros(len(points), np.int64), np.full(len(points), np.inf, np.float32)
    rows = max(1, CELLS // max(len(to), 1))
    for start in range(0, len(points) if len(to) else 0, rows):
        part = squared_distances(points[start : start + rows], to)
        where[start : start + rows] = part.argmin(axis=1)
        distance[start : start + rows] = part.min(axis=1)
    return where, distance


def centred(points: npt.NDArray[np.floating], known: npt.NDArray[np.floating]) -> tuple[Vectors, Vectors]:
    """The (n, d) points and (m, d) labelled vectors minus the mean of the points, which float32 keeps apart better."""
    mean = points.mean(axis=0, dtype=np.float64)
    return (points - mean).astype(np.float32), (known - mean).astype(np.float32)


def unlike(vectors: Vectors, known: Known | None) -> list[str]:
    """For each of (n, d) vectors of length 1, its cosine similarity to the nearest labelled item, in words."""
    if known is None or not len(known.ids):
        return ["nothing is labelled yet"] * len(vectors)
    where, distance = nearest(vectors, known.vectors)
    return [
        f"nearest labelled item: {item} ({1 - square / 2:.2f})"
        for item, square in zip(known.ids[where], distance.tolist(), strict=True)
    ]
