"""Counterexamples (CAIPI; Teso & Kersting 2019, algorithm 1): copies of corrected items in which what was wrongly
relevant is something else, with the same label. They teach any model that the label does not hang on it.

The components become random values; an alternative, a value that they do not have here and do have in other labelled
items; or those of another labelled item of the class. A word of a text is left out (alternative, after Zaidan et al.
2007), or becomes a random word of all labelled texts, or of another text of the class. A component of which no other
value is known yet stays as it is, and a copy in which nothing changed is none. Copies join the training as synthetic
items and are no labels.
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

TRIES = 20  # items of a class that are looked at one by one, before all are


@dataclass(frozen=True, kw_only=True)
class Counterexamples(Feedback, name="counterexamples"):
    """Copies of corrected items with what was wrongly relevant changed."""

    replacement: Literal["random", "alternative", "class"] = "random"
    """What the components become: random values, another value than they have, or those of an item of the class."""
    n_copies: Annotated[int, Field(ge=1)] = 1
    """c: copies of a corrected item; of a text that loses words, one."""
    onehot_width: Annotated[int, Field(ge=1)] = 1
    """Columns of a table that belong together, as the indicators of a category do: they matter, and change, as one, to
    values that labelled items have. Whoever marks one column as wrong says it of all."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Of a copy in the loss, where a labelled item has 1: below 1 where corrections are noisy."""

    def pool_problems(self, kind: str, width: int) -> list[str]:
        """Columns must be groups of `onehot_width`."""
        lines = super().pool_problems(kind, width)
        if kind == "features" and width % self.onehot_width:
            lines.append(f"feedback.onehot_width: {width} columns are not groups of {self.onehot_width}")
        return lines

    def takes_values(self, kind: str) -> bool:
        """All but random pixels and words do."""
        return kind == "features" or (kind == "image" and self.replacement != "random")

    def copies(self, batch: CorrectionBatch, seed: int) -> tuple[Any, npt.NDArray[np.int64]]:
        """(copies, the item each was made from), each other than its item.

        Draws depend on the item's id alone, and on what is labelled. Raises XalError for columns that are not groups.
        """
        if batch.payload.dtype == object:
            return _texts(self, batch, seed)
        made, source = _arrays(self, batch, seed)
        changed = (made != batch.payload[source]).reshape(len(made), -1).any(axis=1)
        return made[changed], source[changed]


def _generator(seed: int, item: str) -> np.random.Generator:
    return np.random.default_rng([seed, crc32(item.encode())])


def _arrays(plan: Counterexamples, batch: CorrectionBatch, seed: int) -> tuple[Any, npt.NDArray[np.int64]]:
    source = np.repeat(np.arange(len(batch.ids)), plan.n_copies)
    made = batch.payload[source].copy()
    image = made.ndim == 4
    flat = _grouped(made, plan.onehot_width)  # (m, channels, components), a view
    known = _grouped(batch.known, plan.onehot_width)
    wrong = batch.wrong.reshape(len(batch.ids), -1)
    wrong = wrong if image else wrong.reshape(len(wrong), -1, plan.onehot_width).any(axis=2)
    values: dict[int, npt.NDArray[Any]] = {}
    if plan.replacement != "class" and not (image and plan.replacement == "random"):
        each = {int(column): np.unique(known[:, :, column], axis=0) for column in np.flatnonzero(wrong.any(axis=0))}
        values = {column: found for column, found in each.items() if len(found) > 1}
    members = {int(label): np.flatnonzero(batch.known_labels == label) for label in np.unique(batch.known_labels)}
    for number, item in enumerate(batch.ids):
        generator = _generator(seed, item)
        copies = flat[number * plan.n_copies : (number + 1) * plan.n_copies]  # a view, too
        columns = np.flatnonzero(wrong[number])
        if plan.replacement == "class":
            for copy in copies:
                copy[:, columns] = _of_class(members[int(batch.labels[number])], known, copy, columns, generator)
        elif image and plan.replacement == "random":
            copies[:, :, columns] = generator.integers(0, 256, (plan.n_copies, flat.shape[1], len(columns)))
        else:
            for column in columns.tolist():
                if column in values:
                    copies[:, :, column] = _other(plan, values[column], copies[0, :, column], generator)
    return made, source


def _of_class(
    members: npt.NDArray[np.int64],
    known: npt.NDArray[Any],
    own: npt.NDArray[Any],
    columns: npt.NDArray[np.int64],
    generator: np.random.Generator,
) -> npt.NDArray[Any]:
    """(channels, columns) of a random item of the class that differs there; the item's own where none does."""
    for member in generator.choice(members, min(TRIES, len(members)), replace=False):
        found: npt.NDArray[Any] = known[member][:, columns]
        if (found != own[:, columns]).any():
            return found
    differ = members[(known[members][:, :, columns] != own[:, columns]).any(axis=(1, 2))]
    return np.asarray(known[generator.choice(differ)][:, columns] if len(differ) else own[:, columns])


def _grouped(payload: npt.NDArray[Any], group: int) -> npt.NDArray[Any]:
    """(n, channels, components): pixels of an image, or groups of a table's columns."""
    if payload.ndim == 4:
        return payload.reshape(*payload.shape[:2], -1)
    if payload.shape[1] % group:
        raise XalError(f"counterexamples: {payload.shape[1]} columns are not groups of {group}; correct `group`")
    return payload.reshape(len(payload), -1, group).transpose(0, 2, 1)


def _other(
    plan: Counterexamples, values: npt.NDArray[Any], own: npt.NDArray[Any], generator: np.random.Generator
) -> npt.NDArray[Any]:
    """(copies, channels): uniform between the known extremes, or known values in turn that are not its own."""
    if plan.replacement == "random" and plan.onehot_width == 1:
        low, high = values.min(axis=0), values.max(axis=0)
        return np.asarray(low + (high - low) * generator.random((plan.n_copies, len(low))), values.dtype)
    others = generator.permutation(values if plan.replacement == "random" else values[(values != own).any(axis=1)])
    return np.asarray(others[np.arange(plan.n_copies) % len(others)])


def _texts(plan: Counterexamples, batch: CorrectionBatch, seed: int) -> tuple[Any, npt.NDArray[np.int64]]:
    made: list[str] = []
    source: list[int] = []
    everything = _Vocabulary(batch.known if plan.replacement == "random" else ())
    of_class = {
        int(label): _Vocabulary(batch.known[batch.known_labels == label])
        for label in (np.unique(batch.known_labels) if plan.replacement == "class" else ())
    }
    for number, (item, text) in enumerate(zip(batch.ids, batch.payload, strict=True)):
        gone, generator = frozenset(batch.wrong[number]), _generator(seed, item)
        if plan.replacement == "alternative":
            new = [without(text, batch.wrong[number])]  # leaving out can be done once
        else:
            draw = of_class.get(int(batch.labels[number]), everything).drawing(gone, generator)
            new = [] if draw is None else [_replaced(text, gone, draw) for _ in range(plan.n_copies)]
        kept = [each for each in new if each.strip() and each != text]
        made += kept
        source += [number] * len(kept)
    copies = np.empty(len(made), object)
    copies[:] = made
    return copies, np.array(source, np.int64)


class _Vocabulary:
    """The words of texts, to draw from."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._words = sorted({word for text in texts for word in hashed_words.tokens(text)})
        self._places: dict[int, list[int]] = {}
        for place, word in enumerate(self._words):
            self._places.setdefault(hashed_words.column(word), []).append(place)

    def drawing(self, gone: frozenset[int], generator: np.random.Generator) -> Callable[[], str] | None:
        """Draws one of the words that are not of these columns; None: there is none."""
        barred = sorted(place for column in gone for place in self._places.get(column, ()))
        left = len(self._words) - len(barred)

        def draw() -> str:
            place = int(generator.integers(left))
            for each in barred:
                place += place >= each
            return self._words[place]

        return draw if left else None


def _replaced(text: str, gone: frozenset[int], draw: Callable[[], str]) -> str:
    pieces, at = [], 0
    for start, end in hashed_words.spans(text):
        if hashed_words.column(text[start:end].lower()) in gone:
            pieces += [text[at:start], draw()]
            at = end
    return "".join([*pieces, text[at:]])
