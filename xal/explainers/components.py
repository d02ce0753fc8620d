"""The components that a correction speaks of: which were shown, what they are called, which part of an item they are.

A component is a column of an explanation's attributions: a word, a table's column, a pixel, a patch, a superpixel, a
feature that EBAnO found, or a concept of the model's own, which is no part of the item. Of an item that no explanation
was shown of, components are those of its payload.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from xal.core import hashed_words
from xal.errors import XalError
from xal.types import Explanations, Form, dense

Mask = npt.NDArray[np.bool_]


def shown_components(explanation: Explanations, k: int | None) -> tuple[int, ...]:
    """The k components of largest attribution of one item (all where None), none whose attribution is 0."""
    values = explanation.attributions
    if isinstance(values, np.ndarray):
        columns = np.flatnonzero(~np.isnan(values[0]) & (values[0] != 0))
        row = dense(values)[0][columns]
    else:
        stored = values[[0]]
        columns, row = stored.indices[stored.data != 0], stored.data[stored.data != 0]
    order = np.lexsort((columns, -np.abs(row)))
    return tuple(columns[order[:k]].tolist())


class Naming:
    """What the components of one item are called, both ways."""

    def __init__(self, form: Form, explanation: Explanations | None, names: Sequence[str]) -> None:
        if explanation is not None and explanation.feature_kind == "concepts":
            self._names = {number: f"concept {number}" for number in range(explanation.attributions.shape[1])}
        elif isinstance(form, str):
            self._names = {hashed_words.column(word): word for word in hashed_words.tokens(form)}
        elif explanation is not None and explanation.segments is not None:
            h, w = explanation.segments.shape[1:]
            found = np.unique(explanation.segments[0]).tolist()
            self._names = _pixels(h, w) if len(found) == h * w else {number: str(number) for number in found}
        elif len(form) == 1:
            self._names = dict(enumerate(_columns(names, form[0])))
        else:
            self._names = _pixels(*form[1:])
        self._numbers = {name: number for number, name in self._names.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Of all its components."""
        return tuple(self._numbers)

    def name(self, component: int) -> str:
        """Of one of the item's components."""
        return self._names[component]

    def __contains__(self, component: int) -> bool:
        return component in self._names

    def number(self, name: str) -> int | None:
        """Of the component with that name; None: the item has none."""
        return self._numbers.get(name, self._numbers.get(name.lower()))


def _columns(names: Sequence[str], d: int) -> Sequence[str]:
    """A table's own names, where each says which column is meant, also in a list with `;` between them."""
    clear = len({name.strip().lower() for name in names}) == d and not any(";" in name for name in names)
    return names if clear else [f"column {number}" for number in range(d)]


def _pixels(h: int, w: int) -> dict[int, str]:
    return {row * w + column: f"{row},{column}" for row in range(h) for column in range(w)}


def mask_of(components: Sequence[int], shape: Sequence[int], explanation: Explanations | None) -> Mask:
    """Which part of an item of a shape, (c, h, w) or (d,), the components are: (h, w) pixels, or (d,) columns.

    Concepts are no part of it. Raises XalError for a text, whose words have no fixed place.
    """
    if not shape:
        raise XalError("the words of a text have no mask")
    size = tuple(shape[-2:])
    if explanation is not None and explanation.feature_kind == "concepts":
        return np.zeros(size, bool)
    chosen = np.array(sorted(components), np.int64)
    if explanation is not None and explanation.segments is not None:
        return np.isin(explanation.segments[0], chosen)
    return np.isin(np.arange(math.prod(size)), chosen).reshape(size)


def are_relevant(components: Sequence[int], relevant: Mask, explanation: Explanations | None) -> list[bool]:
    """Whether each component of an image or a table is relevant: most of its pixels are."""
    if explanation is None or explanation.segments is None:
        flat = relevant.ravel()
        return [bool(flat[component]) for component in components]
    segments = explanation.segments[0].ravel()
    pixels, good = np.bincount(segments), np.bincount(segments, relevant.ravel())
    return [bool(2 * good[component] > pixels[component]) for component in components]


def without(text: str, components: Sequence[int]) -> str:
    """The text without some of its words."""
    gone, pieces, at = set(components), [], 0
    for start, end in hashed_words.spans(text):
        if hashed_words.column(text[start:end].lower()) in gone:
            pieces.append(text[at:start])
            at = end
    return " ".join("".join([*pieces, text[at:]]).split())
