"""The arrays that travel between the parts, as small frozen dataclasses.

Legend of shapes for the whole project: n pool, b batch, q query size, c classes, d features,
f features of the explanation space, h w pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

Ids = npt.NDArray[np.object_]  # str
Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.int64]
Kind = Literal["image", "text", "features"]
"""What a pool holds."""
Shape = tuple[int, ...]
"""Of an item as a model takes it: (c, h, w) of images, (d,) of features, () of texts."""
Form = str | Shape
"""What the parts of an item are found by: a text itself, of any other item its shape."""
Output = Literal["probability", "margin"]
"""What is explained: probabilities, or logits and the like."""
Outputs = npt.NDArray[np.float64]
"""(b, c) outputs of a model."""
Matrix = Any
"""(b, f) array of floats, or scipy.sparse.csr_array where most are 0."""


FeatureKind = Literal["words", "columns", "segments", "pixels", "concepts"]
"""What the features of explanations are:

- words: of a text, in the space of `xal.core.hashed_words`, sparse
- columns: of a table
- segments: patches, superpixels, or EBAnO's features of an image
- pixels: of an image, row by row
- concepts: of the model's own, which are no part of the item
"""


@dataclass(frozen=True, eq=False, kw_only=True)
class Explanations:
    """Explanations of b items: how much each of f features speaks for the class explained.

    All items share the features, as words, columns, pixels and the patches of a grid are shared, unless `per_item`:
    superpixels and EBAnO's features are found in each image anew, and attributions are NaN beyond an image's own.
    """

    feature_kind: FeatureKind
    attributions: Matrix  # (b, f)
    interpretable_input: Matrix  # (b, f) x', the item itself in that space
    explained_class: Labels  # (b,) the class of interest
    probability: Floats  # (b,) probability of that class
    base: Floats | None = None  # (b,) explained output with every feature masked
    output: Floats | None = None  # (b,) explained output of the item; complete: base + attributions.sum(1) == output
    segments: Any = None  # (b, h, w) integers, each pixel's feature; None: not an image, or concepts
    npirp: Any = None  # (b, f) floats in [-1, 1], EBAnO's second index; None: another explainer
    per_item: bool = False
    """Whether each item has features of its own."""

    def __len__(self) -> int:
        return len(self.explained_class)

    @property
    def npir(self) -> npt.NDArray[np.float64]:
        """(b, f) EBAnO's attributions: nPIR, in [-1, 1]."""
        return dense(self.attributions)

    @property
    def n_features(self) -> npt.NDArray[np.int64]:
        """(b,) features of each item, NaN not counted."""
        if isinstance(self.attributions, np.ndarray):
            return np.asarray((~np.isnan(self.attributions)).sum(axis=1), np.int64)
        return np.asarray(np.diff(self.interpretable_input.indptr), np.int64)

    @property
    def top_feature(self) -> npt.NDArray[np.int64]:
        """(b,) index of the feature of largest attribution (the lowest index where tied)."""
        return np.asarray(np.nanargmax(dense(self.attributions), axis=1), np.int64)

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
        """(b, v) in a space that all items share: the attributions, or where `per_item` the heat of each pixel."""
        return self.heat.reshape(len(self), -1) if self.per_item else self.attributions

    def take(self, index: Any) -> Explanations:
        """The explanations at `index` (anything that indexes axis 0 and keeps it)."""
        taken: dict[str, Any] = {name: value[index] for name, value in self._arrays().items()}
        return replace(self, **taken)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Explanations:
        """Join along the batch; dense features are padded with NaN to the widest part."""
        names = [name for name in parts[0]._arrays() if all(getattr(part, name) is not None for part in parts)]
        joined: dict[str, Any] = dict.fromkeys(parts[0]._arrays())  # None where a part has none
        joined |= {name: _joined([getattr(part, name) for part in parts]) for name in names}
        return replace(parts[0], **joined)

    def _arrays(self) -> dict[str, Any]:
        """The fields that hold a value for each item."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in named.items() if value is not None and name not in TAGS}


TAGS = ("feature_kind", "per_item")
"""Fields of explanations that say the same of all items."""


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


CORRECTION_KINDS = ("wrong", "missed", "against")
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
    interpretable_input: Matrix | None = None  # (b, f) x', the item in the explanation space; needs no model

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
    """Items with their scores, and the evidence that they were scored by where it is wanted: all that travels from a
    shard to the coordinator."""

    ids: Ids  # (n,)
    rows: Rows  # (n,)
    scores: npt.NDArray[np.float64]  # (n,), larger is queried first
    evidence: Evidence | None = None
    """On the same items in the same order; None: not kept."""

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def empty(cls) -> Scored:
        """No items."""
        return cls(ids=np.empty(0, object), rows=np.empty(0, np.int64), scores=np.empty(0))

    def take(self, index: Any) -> Scored:
        """The items at `index`."""
        evidence = None if self.evidence is None else self.evidence.take(index)
        return Scored(ids=self.ids[index], rows=self.rows[index], scores=self.scores[index], evidence=evidence)

    def top(self, k: int) -> Scored:
        """The k best, ordered by score descending, ties by id ascending: independent of the order they came in."""
        return self.take(self.best(k))

    def best(self, k: int) -> Rows:
        """Where the k best are, in the order of `top`."""
        scores = self.scores
        if 0 < k < len(scores):
            threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
            kept = np.flatnonzero(scores >= threshold)  # all ties with the k-th stay in, the ids decide below
        else:
            kept = np.arange(len(scores) if k > 0 else 0)
        order = np.lexsort((self.ids[kept].astype(str), -scores[kept]))[: max(k, 0)]
        return np.asarray(kept[order], np.int64)

    @classmethod
    def concatenate(cls, parts: Sequence[Scored]) -> Scored:
        """Join; no order is implied. Evidence is kept where every part has it; empty parts do not count."""
        parts = [part for part in parts if len(part)]
        if not parts:
            return cls.empty()
        evidence = [part.evidence for part in parts if part.evidence is not None]
        return cls(
            ids=np.concatenate([part.ids for part in parts]),
            rows=np.concatenate([part.rows for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
            evidence=Evidence.concatenate(evidence) if len(evidence) == len(parts) else None,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Query:
    """The items to label next, best first, and what chose each."""

    items: Scored
    reasons: tuple[str, ...]  # the name of the strategy that chose the item
    evidence: tuple[Evidence, ...] = ()
    """What the strategies looked at, in pieces: each on some of the items."""

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def of(cls, items: Scored, reason: str) -> Query:
        """Items that one strategy chose."""
        evidence = () if items.evidence is None else (items.evidence,)
        return cls(items=replace(items, evidence=None), reasons=(reason,) * len(items), evidence=evidence)

    @classmethod
    def concatenate(cls, parts: Sequence[Query]) -> Query:
        """One after another."""
        return cls(
            items=Scored.concatenate([part.items for part in parts]),
            reasons=tuple(reason for part in parts for reason in part.reasons),
            evidence=tuple(piece for part in parts for piece in part.evidence),
        )

    def take(self, index: Any) -> Query:
        """The items at `index`, an array of positions or a mask; evidence on the others is kept, too."""
        reasons = np.array(self.reasons, object)[index]
        return Query(items=self.items.take(index), reasons=tuple(reasons.tolist()), evidence=self.evidence)

    def renamed(self, old: str, new: str) -> Query:
        """With another name for one of the strategies."""
        return replace(self, reasons=tuple(new if reason == old else reason for reason in self.reasons))
