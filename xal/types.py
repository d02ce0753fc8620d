"""The data types that modules exchange, as frozen dataclasses of arrays.

Shapes in the whole project: n pool, b batch, q query size, c classes, d features, f features of the explanation space,
h w pixels.
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
"""The kind of a pool's items."""
Shape = tuple[int, ...]
"""The shape of an item as a model's input: (c, h, w) for images, (d,) for features, () for texts."""
Form = str | Shape
"""What determines an item's components: the text itself, or the shape of any other item."""
Output = Literal["probability", "margin"]
"""The output of a model: probabilities, or margins such as logits."""
Outputs = npt.NDArray[np.float64]
"""(b, c) outputs of a model."""
Matrix = Any
"""(b, f) array of floats, or a scipy.sparse.csr_array."""

FeatureKind = Literal["words", "columns", "segments", "pixels", "concepts"]
"""The features of explanations:

- words: words of a text, in the space of `xal.core.hashed_words`, sparse
- columns: columns of a table
- segments: patches, superpixels or EBAnO features of an image
- pixels: pixels of an image, row by row
- concepts: concepts of the model, which cover no part of the item
"""


@dataclass(frozen=True, eq=False, kw_only=True)
class Explanations:
    """Explanations of b items: the attribution of each of f features to the explained class.

    All items share the features (words, columns, pixels, patches of a grid) unless `per_item` is True: superpixels and
    EBAnO features are computed for each image, and attributions are NaN beyond an image's number of features.
    """

    feature_kind: FeatureKind
    attributions: Matrix  # (b, f)
    interpretable_input: Matrix  # (b, f) x', the items in the explanation space
    explained_class: Labels  # (b,) the class that is explained
    probability: Floats  # (b,) probability of that class
    base: Floats | None = None  # (b,) explained output with every feature masked
    output: Floats | None = None  # (b,) explained output of the item; complete: base + attributions.sum(1) == output
    segments: Any = None  # (b, h, w) integers, each pixel's feature; None: not images, or concepts
    npirp: Any = None  # (b, f) floats in [-1, 1], EBAnO's second index; None for other explainers
    per_item: bool = False
    """Whether each item has its own features."""

    def __len__(self) -> int:
        return len(self.explained_class)

    @property
    def npir(self) -> npt.NDArray[np.float64]:
        """(b, f) nPIR, EBAnO's attributions, in [-1, 1]."""
        return dense(self.attributions)

    @property
    def n_features(self) -> npt.NDArray[np.int64]:
        """(b,) number of features of each item, not counting NaN."""
        if isinstance(self.attributions, np.ndarray):
            return np.asarray((~np.isnan(self.attributions)).sum(axis=1), np.int64)
        return np.asarray(np.diff(self.interpretable_input.indptr), np.int64)

    @property
    def top_feature(self) -> npt.NDArray[np.int64]:
        """(b,) index of the feature of largest attribution (the lowest index if tied)."""
        return np.asarray(np.nanargmax(dense(self.attributions), axis=1), np.int64)

    @property
    def heat(self) -> npt.NDArray[np.float64]:
        """(b, h, w) attribution of each pixel's feature."""
        if self.segments is None:
            raise TypeError("expected explanations of images with segments, but these are not of images")
        flat = self.segments.reshape(len(self), -1).astype(np.int64)
        heat: npt.NDArray[np.float64] = np.take_along_axis(dense(self.attributions), flat, axis=1)
        return heat.reshape(self.segments.shape)

    @property
    def vectors(self) -> Matrix:
        """(b, v) in a space that all items share: attributions, or the heat of each pixel if `per_item`."""
        return self.heat.reshape(len(self), -1) if self.per_item else self.attributions

    def take(self, index: Any) -> Explanations:
        """The explanations at `index`: an array, a mask or a slice of axis 0."""
        taken: dict[str, Any] = {name: value[index] for name, value in self._arrays().items()}
        return replace(self, **taken)

    def item(self, index: int) -> Explanations:
        """The explanation of one item, as a batch of one."""
        return self.take(slice(index, index + 1))

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Explanations:
        """Join along the batch; dense features are padded with NaN to the widest part."""
        names = [name for name in parts[0]._arrays() if all(getattr(part, name) is not None for part in parts)]
        joined: dict[str, Any] = dict.fromkeys(parts[0]._arrays())  # None if any part has none
        joined |= {name: _joined([getattr(part, name) for part in parts]) for name in names}
        return replace(parts[0], **joined)

    def _arrays(self) -> dict[str, Any]:
        """The fields with one value per item."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in named.items() if value is not None and name not in TAGS}


TAGS = ("feature_kind", "per_item")
"""Fields of `Explanations` with one value for all items."""


def dense(matrix: Matrix) -> npt.NDArray[np.float64]:
    """Convert a dense or sparse matrix to a float64 array."""
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
"""The kinds of components that a correction names; see `Correction`."""


@dataclass(frozen=True, kw_only=True)
class Correction:
    """An annotator's correction of an explanation.

    Components are columns of its attributions. If no explanation of the item was shown, they are those of the payload:
    pixels row by row, columns, or words' columns.
    """

    wrong: tuple[int, ...] = ()
    """Components that were shown as relevant but are not."""
    missed: tuple[int, ...] = ()
    """Components that speak for the explained class, whatever their attribution."""
    against: tuple[int, ...] = ()
    """Components that speak against the explained class, whatever their attribution."""

    @property
    def components(self) -> tuple[int, ...]:
        """All components that the correction names."""
        return (*self.wrong, *self.missed, *self.against)

    def __bool__(self) -> bool:
        return bool(self.components)


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """What a strategy may read about b items, without labels. Fields that it does not need are None."""

    ids: Ids  # (b,)
    rows: Rows  # (b,) position in the pool
    probabilities: Floats | None = None  # (b, c), rows sum to 1
    embeddings: Floats | None = None  # (b, d)
    explanations: Explanations | None = None
    interpretable_input: Matrix | None = None  # (b, f) x', the items in the explanation space; needs no model
    contrastive: Floats | None = None
    """(b, d) contribution of each dimension of the embedding to the margin between the two most likely classes."""
    sampled_probabilities: Floats | None = None
    """(b, t, c) class probabilities by t members of an ensemble, or under t draws of dropout; rows sum to 1."""

    def __len__(self) -> int:
        return len(self.ids)

    def only(self, names: frozenset[str]) -> Self:
        """The evidence without the fields that are not in `names`."""
        kept: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self) if field.name in names}
        return type(self)(ids=self.ids, rows=self.rows, **kept)

    def take(self, index: Any) -> Evidence:
        """The evidence at `index` along the batch."""
        parts = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "explanations"}
        explanations = None if self.explanations is None else self.explanations.take(index)
        taken: dict[str, Any] = {name: None if part is None else part[index] for name, part in parts.items()}
        return Evidence(explanations=explanations, **taken)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Evidence:
        """Join along the batch; a field is None unless all parts have it."""
        names = [field.name for field in fields(cls) if field.name != "explanations"]
        explanations = [part.explanations for part in parts]
        present = [piece for piece in explanations if piece is not None]
        return Evidence(
            explanations=Explanations.concatenate(present) if len(present) == len(parts) else None,
            **{name: _joined([getattr(part, name) for part in parts]) for name in names},
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Labelled:
    """The labelled items: their evidence and labels."""

    evidence: Evidence
    labels: Labels  # (b,) class indices
    explanations: Explanations | None = None
    """Explanations of the label's class, if the strategy needs them; those in `evidence` are of the predicted class."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Scored:
    """Items with their scores, which a shard returns to the coordinator."""

    ids: Ids  # (n,)
    rows: Rows  # (n,)
    scores: npt.NDArray[np.float64]  # (n,), larger is queried first
    evidence: Evidence | None = None
    """Evidence on the same items in the same order; None: not kept."""
    notes: npt.NDArray[np.object_] | None = None
    """(n,) what a strategy says about each item in words; None: nothing."""

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def empty(cls) -> Scored:
        """Return a `Scored` without items."""
        return cls(ids=np.empty(0, object), rows=np.empty(0, np.int64), scores=np.empty(0))

    def take(self, index: Any) -> Scored:
        """The items at `index`."""
        return Scored(
            ids=self.ids[index],
            rows=self.rows[index],
            scores=self.scores[index],
            evidence=None if self.evidence is None else self.evidence.take(index),
            notes=None if self.notes is None else self.notes[index],
        )

    def top(self, k: int) -> Scored:
        """The k best items by descending score, ties by ascending id; independent of their order here."""
        return self.take(self.best(k))

    def best(self, k: int) -> Rows:
        """Positions of the k best items, in the order of `top`."""
        scores = self.scores
        if 0 < k < len(scores):
            threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
            candidates = np.flatnonzero(scores >= threshold)  # includes all ties with the k-th; ids decide below
        else:
            candidates = np.arange(len(scores) if k > 0 else 0)
        order = np.lexsort((self.ids[candidates].astype(str), -scores[candidates]))[: max(k, 0)]
        return np.asarray(candidates[order], np.int64)

    @classmethod
    def concatenate(cls, parts: Sequence[Scored]) -> Scored:
        """Join the parts; empty ones are ignored. Evidence is kept only if every other part has it."""
        parts = [part for part in parts if len(part)]
        if not parts:
            return cls.empty()
        evidence = [part.evidence for part in parts if part.evidence is not None]
        notes = [np.full(len(part), "", object) if part.notes is None else part.notes for part in parts]
        return cls(
            ids=np.concatenate([part.ids for part in parts]),
            rows=np.concatenate([part.rows for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
            evidence=Evidence.concatenate(evidence) if len(evidence) == len(parts) else None,
            notes=np.concatenate(notes) if any(part.notes is not None for part in parts) else None,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Query:
    """The items to label next, best first, and the strategy that chose each."""

    items: Scored
    reasons: tuple[str, ...]  # the name of the strategy that chose the item
    evidence: tuple[Evidence, ...] = ()
    """What the strategies read, in pieces that each cover some of the items."""

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def of(cls, items: Scored, reason: str) -> Query:
        """A query of items that one strategy chose."""
        evidence = () if items.evidence is None else (items.evidence,)
        return cls(items=replace(items, evidence=None), reasons=(reason,) * len(items), evidence=evidence)

    @classmethod
    def concatenate(cls, parts: Sequence[Query]) -> Query:
        """Join queries in order."""
        return cls(
            items=Scored.concatenate([part.items for part in parts]),
            reasons=tuple(reason for part in parts for reason in part.reasons),
            evidence=tuple(piece for part in parts for piece in part.evidence),
        )

    def take(self, index: Any) -> Query:
        """The items at `index`, an array of positions or a mask; evidence on the other items is kept."""
        reasons = np.array(self.reasons, object)[index]
        return Query(items=self.items.take(index), reasons=tuple(reasons.tolist()), evidence=self.evidence)

    def noted(self, text: str) -> Query:
        """Add `text` to what is said of each item."""
        given = ("",) * len(self) if self.items.notes is None else self.items.notes
        notes = np.array([f"{note}; {text}" if note else text for note in given], object)
        return replace(self, items=replace(self.items, notes=notes))

    def renamed(self, old: str, new: str) -> Query:
        """Replace the strategy name `old` with `new` in the reasons."""
        return replace(self, reasons=tuple(new if reason == old else reason for reason in self.reasons))
