"""The arrays that travel between the parts, as small frozen dataclasses.

Legend of shapes for the whole project: n pool, b batch, q query size, c classes, d features,
f features of the explanation space, h w pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

Ids = npt.NDArray[np.object_]  # str
Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.int64]
Output = Literal["probability", "margin"]
"""What is explained: probabilities, or logits and the like."""
Matrix = Any
"""(b, f) array of floats, or scipy.sparse.csr_array where most are 0."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Explanations:
    """Explanations of b items: how much each of f features of an explanation space speaks for the class explained.

    The space is what the explainer perturbs: words (sparse, one column a word of `xal.words`), columns of a table,
    patches or pixels of an image, or features that are found in each image anew, as superpixels and EBAnO's (then NaN
    beyond an image's own).
    """

    attributions: Matrix  # (b, f)
    represented: Matrix  # (b, f) x', the item itself in that space
    explained_class: Labels  # (b,) the class of interest
    probability: Floats  # (b,) probability of that class
    base: Floats | None = None  # (b,) explained output with every feature absent
    output: Floats | None = None  # (b,) explained output of the item; complete: base + attributions.sum(1) == output
    segments: Any = None  # (b, h, w) integers, each pixel's feature; None: not an image
    npirp: Any = None  # (b, f) floats in [-1, 1], EBAnO's second index; None: another explainer
    concepts: Any = None  # (b,) True: features are concepts of the model's own; None: they are parts of the item
    own: Any = None  # (b,) True: each item has features of its own; None: all items share them

    def __len__(self) -> int:
        return len(self.explained_class)

    @property
    def npir(self) -> npt.NDArray[np.float64]:
        """(b, f) EBAnO's attributions: nPIR, in [-1, 1]."""
        return dense(self.attributions)

    @property
    def k(self) -> npt.NDArray[np.int64]:
        """(b,) features of each item, NaN not counted."""
        if isinstance(self.attributions, np.ndarray):
            return np.asarray((~np.isnan(self.attributions)).sum(axis=1), np.int64)
        return np.asarray(np.diff(self.represented.indptr), np.int64)

    @property
    def strongest(self) -> npt.NDArray[np.int64]:
        """(b,) index of the feature of largest attribution (the lowest index where tied)."""
        strongest: npt.NDArray[np.int64] = np.nanargmax(dense(self.attributions), axis=1).astype(np.int64)
        return strongest

    @property
    def heat(self) -> npt.NDArray[np.float64]:
        """(b, h, w) attribution of each pixel's feature."""
        if self.segments is None:
            raise TypeError("these explanations are not of images")
        flat = self.segments.reshape(len(self), -1).astype(np.int64)
        heat: npt.NDArray[np.float64] = np.take_along_axis(dense(self.attributions), flat, axis=1)
        return heat.reshape(self.segments.shape)

    @property
    def vectors(self) -> Matrix:
        """(b, v) in a space that all items share: the attributions, or of own features the heat of each pixel."""
        return self.attributions if self.own is None else self.heat.reshape(len(self), -1)

    def take(self, index: Any) -> Explanations:
        """The explanations at `index` (anything that indexes axis 0 and keeps it)."""
        parts: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        taken: dict[str, Any] = {name: None if part is None else part[index] for name, part in parts.items()}
        return Explanations(**taken)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Explanations:
        """Join along the batch; dense features are padded with NaN to the widest part."""
        columns = {field.name: [getattr(part, field.name) for part in parts] for field in fields(cls)}
        return Explanations(**{name: _joined(pieces) for name, pieces in columns.items()})


def dense(matrix: Matrix) -> npt.NDArray[np.float64]:
    """The array of a matrix that may be sparse."""
    return np.asarray(matrix if isinstance(matrix, np.ndarray) else matrix.toarray(), np.float64)


def _joined(pieces: Sequence[Any]) -> Any:
    if any(piece is None for piece in pieces):
        return None
    if any(sparse.issparse(piece) for piece in pieces):
        return sparse.csr_array(sparse.vstack(pieces))
    if pieces[0].ndim == 2 and len({piece.shape[1] for piece in pieces}) > 1:
        widest = max(piece.shape[1] for piece in pieces)
        pieces = [np.pad(piece, ((0, 0), (0, widest - piece.shape[1])), constant_values=np.nan) for piece in pieces]
    return np.concatenate(pieces)


SAID = ("wrong", "missed", "against")
"""What a correction says of components."""


@dataclass(frozen=True, kw_only=True)
class Correction:
    """What an annotator says of an explanation. Components are columns of its attributions; of an item that no
    explanation was shown of, those of its payload: pixels row by row, columns, or words' columns."""

    wrong: tuple[int, ...] = ()
    """Shown as relevant, and are not."""
    missed: tuple[int, ...] = ()
    """Speak for the class explained, whatever was shown of them."""
    against: tuple[int, ...] = ()
    """Speak against the class explained, whatever was shown of them."""

    @property
    def components(self) -> tuple[int, ...]:
        """All that are spoken of."""
        return (*self.wrong, *self.missed, *self.against)

    def __bool__(self) -> bool:
        return bool(self.components)


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """What a strategy may look at for b items; parts it did not ask for are None. Never labels."""

    ids: Ids  # (b,)
    rows: Rows  # (b,) position in the pool
    probabilities: Floats | None = None  # (b, c), rows sum to 1
    embeddings: Floats | None = None  # (b, d)
    explanations: Explanations | None = None
    represented: Matrix | None = None  # (b, f) x', the item in the explanation space; needs no model

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: Any) -> Evidence:
        """The evidence at `index` along the batch."""
        parts = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "explanations"}
        explanations = None if self.explanations is None else self.explanations.take(index)
        taken: dict[str, Any] = {name: None if part is None else part[index] for name, part in parts.items()}
        return Evidence(explanations=explanations, **taken)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Evidence:
        """Join along the batch; a part is kept only where every piece has it."""
        names = [field.name for field in fields(cls) if field.name != "explanations"]
        explanations = [part.explanations for part in parts]
        whole = [piece for piece in explanations if piece is not None]
        return Evidence(
            explanations=Explanations.concatenate(whole) if len(whole) == len(parts) else None,
            **{name: _joined([getattr(part, name) for part in parts]) for name in names},
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Labelled:
    """What is known of the labelled items: evidence, and what was answered."""

    evidence: Evidence
    labels: Labels  # (b,) class indices
    explanations: Explanations | None = None
    """Of the class of each label, where the strategy asks for them; `evidence` has those of the predicted class."""


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
