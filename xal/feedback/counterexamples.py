"""Counterexamples (CAIPI; Teso & Kersting 2019, algorithm 1): copies of corrected items, with the same label, in which
the components marked wrong have other values. From them any model can learn that the label does not depend on these
components.

`replacement` chooses the new values. random: random values; alternative: values that the component has in other
labelled items; class: the values of another labelled item of the same class. In texts, random and class replace a word
by a random word of all labelled texts or of those of the same class; alternative leaves it out (Zaidan et al. 2007). A
component for which the labelled items have no other value is unchanged, and a copy equal to its item is dropped. Copies
are trained on as synthetic items; they do not count as labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from zlib import crc32

import numpy as np
import numpy.typing as npt

from xal.core import hashed_words
from xal.core._typing import Field
from xal.errors import XalError
from xal.explainers.components import without
from xal.feedback.feedback import CorrectionBatch, Feedback

TRIES = 20  # items of a class to try one by one before comparing all of them at once


@dataclass(frozen=True, kw_only=True)
class Counterexamples(Feedback, name="counterexamples"):
    """Train on copies of corrected items in which the components marked wrong are changed."""

    replacement: Literal["random", "alternative", "class"] = "random"
    """The new values: random ones, other values of labelled items, or those of another item of the class."""
    n_copies: Annotated[int, Field(ge=1)] = 1
    """c, the number of copies of a corrected item; always 1 for texts with replacement: alternative."""
    onehot_width: Annotated[int, Field(ge=1)] = 1
    """Columns per group of a table, such as the indicators of one category. A group is corrected and changed as a
    whole: marking one of its columns as wrong marks all, and the new values are those of a labelled item."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of a copy in the loss; a labelled item has 1. Set it below 1 to down-weight noisy corrections."""

    def pool_problems(self, kind: str, width: int) -> list[str]:
        """Also a problem: columns that cannot be split into groups of `onehot_width`."""
        lines = super().pool_problems(kind, width)
        if kind == "features" and width % self.onehot_width:
            lines.append(f"feedback.onehot_width: {width} columns cannot be split into groups of {self.onehot_width}")
        return lines

    def takes_values(self, kind: str) -> bool:
        """True for tables, and for images unless their pixels become random."""
        return kind == "features" or (kind == "image" and self.replacement != "random")

    def copies(self, batch: CorrectionBatch, seed: int) -> tuple[Any, npt.NDArray[np.int64]]:
        """(copies, (m,) index of the item that each was made from), without copies equal to their item.

        Random draws depend only on the seed, the item's id and the labelled items. Raises XalError for columns that
        cannot be split into groups of `onehot_width`.
        """
        if batch.payload.dtype == object:
            return _texts(self, batch, seed)
        copies, source = _arrays(self, batch, seed)
        changed = (copies != batch.payload[source]).reshape(len(copies), -1).any(axis=1)
        return copies[changed], source[changed]


def _generator(seed: int, item: str) -> np.random.Generator:
    return np.random.default_rng([seed, crc32(item.encode())])


def _arrays(plan: Counterexamples, batch: CorrectionBatch, seed: int) -> tuple[Any, npt.NDArray[np.int64]]:
    """`copies` of images or tables, including those equal to their item."""
    source = np.repeat(np.arange(len(batch.ids)), plan.n_copies)
    copies = batch.payload[source].copy()
    image = copies.ndim == 4
    flat = _grouped(copies, plan.onehot_width)  # (m, channels, components), a view: writing to it changes the copies
    labelled = _grouped(batch.known, plan.onehot_width)
    wrong = batch.wrong.reshape(len(batch.ids), -1)
    wrong = wrong if image else wrong.reshape(len(wrong), -1, plan.onehot_width).any(axis=2)
    values: dict[int, npt.NDArray[Any]] = {}
    if plan.replacement != "class" and not (image and plan.replacement == "random"):
        for column in np.flatnonzero(wrong.any(axis=0)).tolist():
            distinct = np.unique(labelled[:, :, column], axis=0)
            if len(distinct) > 1:
                values[column] = distinct
    members = {int(label): np.flatnonzero(batch.known_labels == label) for label in np.unique(batch.known_labels)}
    for number, item in enumerate(batch.ids):
        generator = _generator(seed, item)
        rows = flat[number * plan.n_copies : (number + 1) * plan.n_copies]  # the copies of this item, also a view
        columns = np.flatnonzero(wrong[number])
        if plan.replacement == "class":
            for row in rows:
                row[:, columns] = _values_of_class(
                    members[int(batch.labels[number])], labelled, row, columns, generator
                )
        elif image and plan.replacement == "random":
            rows[:, :, columns] = generator.integers(0, 256, (plan.n_copies, flat.shape[1], len(columns)))
        else:
            for column in columns.tolist():
                if column in values:
                    rows[:, :, column] = _new_values(plan, values[column], rows[0, :, column], generator)
    return copies, source


def _values_of_class(
    members: npt.NDArray[np.int64],
    labelled: npt.NDArray[Any],
    current: npt.NDArray[Any],
    columns: npt.NDArray[np.int64],
    generator: np.random.Generator,
) -> npt.NDArray[Any]:
    """(channels, columns) values of a random item of the class that differ from `current`, else `current`."""
    for member in generator.choice(members, min(TRIES, len(members)), replace=False):
        values: npt.NDArray[Any] = labelled[member][:, columns]
        if (values != current[:, columns]).any():
            return values
    differ = members[(labelled[members][:, :, columns] != current[:, columns]).any(axis=(1, 2))]
    return np.asarray(labelled[generator.choice(differ)][:, columns] if len(differ) else current[:, columns])


def _grouped(payload: npt.NDArray[Any], group: int) -> npt.NDArray[Any]:
    """(n, channels, pixels) of images, or (n, group, groups) of a table whose columns are split into groups."""
    if payload.ndim == 4:
        return payload.reshape(*payload.shape[:2], -1)
    if payload.shape[1] % group:
        raise XalError(
            f"counterexamples: {payload.shape[1]} columns cannot be split into groups of {group}; correct onehot_width"
        )
    return payload.reshape(len(payload), -1, group).transpose(0, 2, 1)


def _new_values(
    plan: Counterexamples, values: npt.NDArray[Any], current: npt.NDArray[Any], generator: np.random.Generator
) -> npt.NDArray[Any]:
    """(copies, channels) new values of a component: uniform between the extremes of `values`, or `values` in turn."""
    if plan.replacement == "random" and plan.onehot_width == 1:
        low, high = values.min(axis=0), values.max(axis=0)
        return np.asarray(low + (high - low) * generator.random((plan.n_copies, len(low))), values.dtype)
    others = generator.permutation(values if plan.replacement == "random" else values[(values != current).any(axis=1)])
    return np.asarray(others[np.arange(plan.n_copies) % len(others)])


def _texts(plan: Counterexamples, batch: CorrectionBatch, seed: int) -> tuple[Any, npt.NDArray[np.int64]]:
    """`copies` of texts."""
    made: list[str] = []
    source: list[int] = []
    all_words = _Vocabulary(batch.known if plan.replacement == "random" else ())
    of_class = {
        int(label): _Vocabulary(batch.known[batch.known_labels == label])
        for label in (np.unique(batch.known_labels) if plan.replacement == "class" else ())
    }
    for number, (item, text) in enumerate(zip(batch.ids, batch.payload, strict=True)):
        wrong, generator = frozenset(batch.wrong[number]), _generator(seed, item)
        if plan.replacement == "alternative":
            texts = [without(text, batch.wrong[number])]  # there is one way to leave words out
        else:
            draw = of_class.get(int(batch.labels[number]), all_words).sampler(wrong, generator)
            texts = [] if draw is None else [_replaced(text, wrong, draw) for _ in range(plan.n_copies)]
        changed = [copy for copy in texts if copy.strip() and copy != text]
        made += changed
        source += [number] * len(changed)
    copies = np.empty(len(made), object)
    copies[:] = made
    return copies, np.array(source, np.int64)


class _Vocabulary:
    """The distinct words of texts, sorted, to draw from."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._words = sorted({word for text in texts for word in hashed_words.tokens(text)})
        self._indices: dict[int, list[int]] = {}  # of the words of each hashed column
        for index, word in enumerate(self._words):
            self._indices.setdefault(hashed_words.column(word), []).append(index)

    def sampler(self, excluded: frozenset[int], generator: np.random.Generator) -> Callable[[], str] | None:
        """A function that draws a word outside the excluded columns; None if there is no such word."""
        skipped = sorted(index for column in excluded for index in self._indices.get(column, ()))
        n_words = len(self._words) - len(skipped)

        def draw() -> str:
            index = int(generator.integers(n_words))
            for skip in skipped:
                index += index >= skip
            return self._words[index]

        return draw if n_words else None


def _replaced(text: str, columns: frozenset[int], draw: Callable[[], str]) -> str:
    """The text with every word of these hashed columns replaced by a drawn word."""
    pieces, position = [], 0
    for start, end in hashed_words.spans(text):
        if hashed_words.column(text[start:end].lower()) in columns:
            pieces += [text[position:start], draw()]
            position = end
    return "".join([*pieces, text[position:]])
