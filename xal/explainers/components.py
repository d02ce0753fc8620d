"""The components that a correction names: which of them were shown, their names, and the part of the item they cover.

A component is a column of an explanation's attributions: a word, a table column, a pixel, a patch, a superpixel, an
EBAnO feature, or a concept of the model, which covers no part of the item. If no explanation of an item was shown, its
components are the words, columns or pixels of its payload.
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
    """The k components of one item with the largest absolute attribution (None: all), except those with 0."""
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
    """Maps the components of one item to names, and names to components."""

    def __init__(self, form: Form, explanation: Explanations | None, names: Sequence[str]) -> None:
        if explanation is not None and explanation.feature_kind == "concepts":
            self._names = {number: f"concept {number}" for number in range(explanation.attributions.shape[1])}
        elif isinstance(form, str):
            self._names = {hashed_words.column(word): word for word in hashed_words.tokens(form)}
        elif explanation is not None and explanation.segments is not None:
            h, w = explanation.segments.shape[1:]
            numbers = np.unique(explanation.segments[0]).tolist()
            self._names = _pixels(h, w) if len(numbers) == h * w else {number: str(number) for number in numbers}
        elif len(form) == 1:
            self._names = dict(enumerate(_columns(names, form[0])))
        else:
            self._names = _pixels(*form[1:])
        self._numbers = {name: number for number, name in self._names.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all components of the item."""
        return tuple(self._numbers)

    def name(self, component: int) -> str:
        """The name of one component of the item."""
        return self._names[component]

    def __contains__(self, component: int) -> bool:
        return component in self._names

    def number(self, name: str) -> int | None:
        """The component with that name, or None if the item has no such component."""
        return self._numbers.get(name, self._numbers.get(name.lower()))


def _columns(names: Sequence[str], d: int) -> Sequence[str]:
    """The table's names if they are unique and contain no `;`, which separates names; else `column 0` and so on."""
    usable = len({name.strip().lower() for name in names}) == d and not any(";" in name for name in names)
    return names if usable else [f"column {number}" for number in range(d)]


def _pixels(h: int, w: int) -> dict[int, str]:
    return {row * w + column: f"{row},{column}" for row in range(h) for column in range(w)}


def mask_of(components: Sequence[int], shape: Sequence[int], explanation: Explanations | None) -> Mask:
    """Mask of the components of an item: (h, w) pixels for shape (c, h, w), (d,) columns for shape (d,).

    Concepts cover no part of the item. Raises XalError for a text, whose words have no fixed positions.
    """
    if not shape:
        raise XalError("expected an image or a table row, got a text: its words have no mask")
    size = tuple(shape[-2:])
    if explanation is not None and explanation.feature_kind == "concepts":
        return np.zeros(size, bool)
    chosen = np.array(sorted(components), np.int64)
    if explanation is not None and explanation.segments is not None:
        return np.isin(explanation.segments[0], chosen)
    return np.isin(np.arange(math.prod(size)), chosen).reshape(size)


def are_relevant(components: Sequence[int], relevant: Mask, explanation: Explanations | None) -> list[bool]:
    """Whether each component of an image or a table row is relevant: more than half of its pixels are."""
    if explanation is None or explanation.segments is None:
        flat = relevant.ravel()
        return [bool(flat[component]) for component in components]
    segments = explanation.segments[0].ravel()
    n_pixels, n_relevant = np.bincount(segments), np.bincount(segments, relevant.ravel())
    return [bool(2 * n_relevant[component] > n_pixels[component]) for component in components]


def without(text: str, components: Sequence[int]) -> str:
    """The text without the words that are among the components."""
    removed, pieces, position = set(components), [], 0
    for start, end in hashed_words.spans(text):
        if hashed_words.column(text[start:end].lower()) in removed:
            pieces.append(text[position:start])
            position = end
    return " ".join("".join([*pieces, text[position:]]).split())
