"""The label space: which labels are valid, and the conversion between labels and class indices.

Each item has a single label, one of the classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xal.core.registry import nearest
from xal.types import Floats, Labels


@dataclass(frozen=True)
class LabelSpace:
    """The classes, in the order of their indices."""

    classes: tuple[str, ...]
    open: bool = False
    """Whether an unknown label becomes a new class."""

    def __len__(self) -> int:
        return len(self.classes)

    def __contains__(self, label: object) -> bool:
        return label in self.index

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Class index by class name."""
        return {name: index for index, name in enumerate(self.classes)}

    def encode(self, labels: Sequence[str]) -> Labels:
        """(b,) class indices; raises KeyError for an unknown label, so check with `unknown` first."""
        return np.array([self.index[label] for label in labels], np.int64)

    def decode(self, number: int) -> str:
        """The class with the index `number`."""
        return self.classes[number]

    def unknown(self, labels: Iterable[object]) -> list[str]:
        """The distinct labels that are not classes, sorted."""
        return sorted({str(label) for label in labels} - self.index.keys())

    def problem(self, label: str) -> str | None:
        """Why a label is not valid, with the nearest class as a hint; None if it is valid."""
        return None if self.open or label in self.index else f"'{label}' is not a class{nearest(label, self.classes)}"

    def extended(self, labels: Iterable[str]) -> LabelSpace:
        """The label space with unknown labels appended, sorted, if it is open; existing classes keep their indices."""
        return LabelSpace((*self.classes, *self.unknown(labels)), self.open) if self.open else self

    def guesses(self, probabilities: Floats) -> list[tuple[tuple[str, float], ...]]:
        """The two likeliest classes with their probabilities, for each row of (b, c) probabilities."""
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
        ranked = np.take_along_axis(probabilities, order, axis=1)
        return [
            tuple((self.classes[index], float(p)) for index, p in zip(indices, row, strict=True))
            for indices, row in zip(order, ranked, strict=True)
        ]
