"""The arrays that travel between the parts, as small frozen dataclasses.

Legend of shapes for the whole project: n pool, b batch, q query size, c classes, d features,
f interpretable features of an explanation (padded to the largest k), h w pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.object_]  # str
Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Explanations:
    """EBAnO explanations of b images: every pixel belongs to exactly one interpretable feature."""

    segments: npt.NDArray[np.uint8]  # (b, h, w) index of the pixel's feature, 0..k-1
    k: npt.NDArray[np.int64]  # (b,) number of features of the best explanation
    npir: npt.NDArray[np.float64]  # (b, f) in [-1, 1]; NaN beyond the image's own k
    npirp: npt.NDArray[np.float64]  # (b, f) in [-1, 1]; NaN beyond the image's own k
    explained_class: Labels  # (b,) the class of interest
    probability: npt.NDArray[np.float64]  # (b,) probability of that class on the unperturbed image

    def __len__(self) -> int:
        return len(self.k)

    @property
    def strongest(self) -> npt.NDArray[np.int64]:
        """(b,) index of f_max, the feature of largest nPIR (the lowest index where tied)."""
        strongest: npt.NDArray[np.int64] = np.nanargmax(self.npir, axis=1).astype(np.int64)
        return strongest

    @property
    def heat(self) -> npt.NDArray[np.float64]:
        """(b, h, w) nPIR of each pixel's feature."""
        flat = self.segments.reshape(len(self), -1).astype(np.int64)
        heat: npt.NDArray[np.float64] = np.take_along_axis(self.npir, flat, axis=1).reshape(self.segments.shape)
        return heat

    def take(self, index: Any) -> Explanations:
        """The explanations at `index` (anything that indexes axis 0 and keeps it)."""
        return Explanations(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Explanations:
        """Join along the batch; nPIR and nPIRP are padded with NaN to the widest part."""
        widest = max(part.npir.shape[1] for part in parts)

        def padded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            return np.pad(values, ((0, 0), (0, widest - values.shape[1])), constant_values=np.nan)

        return Explanations(
            segments=np.concatenate([part.segments for part in parts]),
            k=np.concatenate([part.k for part in parts]),
            npir=np.concatenate([padded(part.npir) for part in parts]),
            npirp=np.concatenate([padded(part.npirp) for part in parts]),
            explained_class=np.concatenate([part.explained_class for part in parts]),
            probability=np.concatenate([part.probability for part in parts]),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """What a strategy may look at for b items; parts it did not ask for are None. Never labels."""

    ids: Ids  # (b,)
    rows: Rows  # (b,) position in the pool
    probabilities: Floats | None = None  # (b, c), rows sum to 1
    embeddings: Floats | None = None  # (b, d)
    explanations: Explanations | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: Any) -> Evidence:
        """The evidence at `index` along the batch."""
        return Evidence(
            ids=self.ids[index],
            rows=self.rows[index],
            probabilities=None if self.probabilities is None else self.probabilities[index],
            embeddings=None if self.embeddings is None else self.embeddings[index],
            explanations=None if self.explanations is None else self.explanations.take(index),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Evidence:
        """Join along the batch; a part is kept only where every piece has it."""

        def joined(name: str) -> Any:
            pieces = [getattr(part, name) for part in parts]
            return None if any(piece is None for piece in pieces) else np.concatenate(pieces)

        explanations = [part.explanations for part in parts]
        whole = [piece for piece in explanations if piece is not None]
        return Evidence(
            ids=np.concatenate([part.ids for part in parts]),
            rows=np.concatenate([part.rows for part in parts]),
            probabilities=joined("probabilities"),
            embeddings=joined("embeddings"),
            explanations=Explanations.concatenate(whole) if len(whole) == len(parts) else None,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Scored:
    """Items with their scores: all that travels from a shard to the coordinator."""

    ids: Ids  # (n,)
    rows: Rows  # (n,)
    scores: npt.NDArray[np.float64]  # (n,), larger is queried first

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def empty(cls) -> Scored:
        """No items."""
        return cls(ids=np.empty(0, object), rows=np.empty(0, np.int64), scores=np.empty(0))

    def take(self, index: Any) -> Scored:
        """The items at `index`."""
        return Scored(ids=self.ids[index], rows=self.rows[index], scores=self.scores[index])

    def top(self, k: int) -> Scored:
        """The k best, ordered by score descending, ties by id ascending: independent of the order they came in."""
        scores = self.scores
        if 0 < k < len(scores):
            threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
            kept = np.flatnonzero(scores >= threshold)  # all ties with the k-th stay in, the ids decide below
        else:
            kept = np.arange(len(scores) if k > 0 else 0)
        order = np.lexsort((self.ids[kept].astype(str), -scores[kept]))[: max(k, 0)]
        return self.take(kept[order])

    @classmethod
    def concatenate(cls, parts: Sequence[Scored]) -> Scored:
        """Join; no order is implied."""
        if not parts:
            return cls.empty()
        return cls(
            ids=np.concatenate([part.ids for part in parts]),
            rows=np.concatenate([part.rows for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Query:
    """The items to label next, best first, and what chose each."""

    items: Scored
    reasons: tuple[str, ...]  # the name of the strategy that chose the item

    def __len__(self) -> int:
        return len(self.items)
