"""What a label may be, and how labels become numbers and back: the one seam between label names and class indices.

Single label: an item has one of the classes.
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
    """The classes in order."""

    classes: tuple[str, ...]
    open: bool = False
    """Whether a label that is no class yet becomes one."""

    def __len__(self) -> int:
        return len(self.classes)

    def __contains__(self, label: object) -> bool:
        return label in self.index

    @cached_property
    def index(self) -> Mapping[str, int]:
        """The number of each class."""
        return {name: number for number, name in enumerate(self.classes)}

    def encode(self, labels: Sequence[str]) -> Labels:
        """(b,) class indices; KeyError for a label that is none, which callers find by `unknown` first."""
        return np.array([self.index[label] for label in labels], np.int64)

    def decode(self, number: int) -> str:
        """The class with that number."""
        return self.classes[number]

    def unknown(self, labels: Iterable[object]) -> list[str]:
        """The distinct labels that are no classes, sorted."""
        return sorted({str(label) for label in labels} - self.index.keys())

    def problem(self, label: str) -> str | None:
        """Why a label cannot be taken, with the nearest class; None: it can."""
        return None if self.open or label in self.index else f"'{label}' is not a class{nearest(label, self.classes)}"

    def extended(self, labels: Iterable[str]) -> LabelSpace:
        """With the labels that are no classes yet after the others, sorted; the numbers of the others stay."""
        return LabelSpace((*self.classes, *self.unknown(labels)), self.open) if self.open else self

    def predictions(self, probabilities: Floats) -> list[tuple[str, float]]:
        """(class, its probability) that each row of (b, c) probabilities predicts."""
        best, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
        return [(self.classes[number], float(p)) for number, p in zip(best, sure, strict=True)]
