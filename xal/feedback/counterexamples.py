"""Counterexamples (CAIPI; Teso & Kersting 2019, algorithm 1): copies of corrected items in which what was wrongly
relevant is something else, with the same label. They teach any model that the label does not hang on it.

The components become random values; an alternative, a value that they do not have here and do have in other labelled
items; or those of another labelled item of the class. A word of a text is left out (alternative, after Zaidan et al.
2007), or becomes a random word of all labelled texts, or of another text of the class. Copies join the training as
synthetic items and are no labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal
from zlib import crc32

import numpy as np
import numpy.typing as npt

from xal import words
from xal.errors import XalError
from xal.feedback.components import without
from xal.feedback.feedback import Feedback, Lesson
from xal.hints import Field


@dataclass(frozen=True, kw_only=True)
class Counterexamples(Feedback, name="counterexamples"):
    """Copies of corrected items with what was wrongly relevant changed."""

    how: Literal["random", "alternative", "class"] = "random"
    """What the components become: random values, another value than they have, or those of an item of the class."""
    copies_of: Annotated[int, Field(ge=1)] = 1
    """c: copies of a corrected item."""
    group: Annotated[int, Field(ge=1)] = 1
    """Columns of a table that belong together, as the indicators of a category do: they change as one, to values that
    labelled items have."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Of a copy in the loss, where a labelled item has 1: below 1 where corrections are noisy."""

    def copies(self, lesson: Lesson, seed: int) -> tuple[Any, npt.NDArray[np.int64]]:
        """(copies, the item each was made from); draws depend on the item's id alone, and on what is labelled.

        Raises XalError where a component has no other value.
        """
        make = _texts if lesson.payload.dtype == object else _arrays
        return make(self, lesson, seed)


def _generator(seed: int, item: str) -> np.random.Generator:
    return np.random.default_rng([seed, crc32(item.encode())])


def _arrays(plan: Counterexamples, lesson: Lesson, seed: int) -> tuple[Any, npt.NDArray[np.int64]]:
    source = np.repeat(np.arange(len(lesson.ids)), plan.copies_of)
    made = lesson.payload[source].copy()
    image = made.ndim == 4
    flat = _grouped(made, plan.group)  # (m, channels, components), a view
    known = _grouped(lesson.known, plan.group)
    wrong = lesson.wrong.reshape(len(lesson.ids), -1)
    wrong = wrong if image else wrong.reshape(len(wrong), -1, plan.group).any(axis=2)
    touched = np.flatnonzero(wrong.any(axis=0))
    values = {}
    if plan.how != "class" and not (image and plan.how == "random"):
        values = {int(column): np.unique(known[:, :, column], axis=0) for column in touched}
        constant = [column for column, each in values.items() if len(each) < 2]
        if constant:
            raise XalError(
                f"counterexamples cannot change component {constant[0]}: all {len(known)} labelled items have the same "
                "value there; label more, or take how: class or another feedback"
            )
    for number, item in enumerate(lesson.ids):
        generator = _generator(seed, item)
        rows, columns = slice(number * plan.copies_of, (number + 1) * plan.copies_of), np.flatnonzero(wrong[number])
        if plan.how == "class":
            others = np.flatnonzero(lesson.known_labels == lesson.labels[number])
            others = others[(known[others][:, :, columns] != flat[rows][0][:, columns]).any(axis=(1, 2))]
            if not len(others):
                raise XalError(
                    f"counterexamples: no labelled item of the class of '{item}' differs from it where it was "
                    "corrected; label more, or take how: random"
                )
            flat[rows][:, :, columns] = known[generator.choice(others, plan.copies_of)][:, :, columns]
        elif image and plan.how == "random":
            flat[rows][:, :, columns] = generator.integers(0, 256, (plan.copies_of, flat.shape[1], len(columns)))
        else:
            for column in columns.tolist():
                flat[rows, :, column] = _other(plan, values[column], flat[rows][0, :, column], generator)
    return made, source


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
    if plan.how == "random" and plan.group == 1:
        low, high = values.min(axis=0), values.max(axis=0)
        return np.asarray(low + (high - low) * generator.random((plan.copies_of, len(low))), values.dtype)
    others = generator.permutation(values if plan.how == "random" else values[(values != own).any(axis=1)])
    return np.asarray(others[np.arange(plan.copies_of) % len(others)])


def _texts(plan: Counterexamples, lesson: Lesson, seed: int) -> tuple[Any, npt.NDArray[np.int64]]:
    made: list[str] = []
    source: list[int] = []
    for number, (item, text) in enumerate(zip(lesson.ids, lesson.payload, strict=True)):
        generator = _generator(seed, item)
        if plan.how == "alternative":
            new = [without(text, lesson.wrong[number])]  # leaving out can be done once
        else:
            mine = lesson.known_labels == lesson.labels[number] if plan.how == "class" else slice(None)
            pool = sorted({word for other in lesson.known[mine] for word in words.tokens(other)})
            gone = set(lesson.wrong[number])
            pool = [word for word in pool if words.column(word) not in gone]
            if not pool:
                raise XalError(f"counterexamples: no word of a labelled text can replace those of '{item}'; label more")
            new = [_replaced(text, gone, pool, generator) for _ in range(plan.copies_of)]
        kept = [each for each in new if each.strip()]
        made += kept
        source += [number] * len(kept)
    copies = np.empty(len(made), object)
    copies[:] = made
    return copies, np.array(source, np.int64)


def _replaced(text: str, gone: set[int], pool: list[str], generator: np.random.Generator) -> str:
    pieces, at = [], 0
    for start, end in words.spans(text):
        if words.column(text[start:end].lower()) in gone:
            pieces += [text[at:start], str(generator.choice(pool))]
            at = end
    return "".join([*pieces, text[at:]])
