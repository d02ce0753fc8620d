"""What truly matters in an item, where a pool knows it: a column `relevant` or `irrelevant` of components of the
payload (pixels row by row, a table's columns, words' columns). For simulated annotators and to measure explanations; no
strategy and no model ever sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, Literal

import numpy as np

from xal import words
from xal.data.pool import TRUTHS, Pool
from xal.feedback.components import judged, mask_of, shown_components
from xal.types import Explanations, Rows, dense


@dataclass(frozen=True, eq=False, kw_only=True)
class Truth:
    """What matters in one item."""

    payload: Any
    components: frozenset[int]  # of the payload
    relevant: bool  # whether those are what matters, or what does not

    def of(self, explanation: Explanations | None, components: Sequence[int]) -> list[bool]:
        """Whether components of an explanation are relevant."""
        if isinstance(self.payload, str):
            return [(component in self.components) == self.relevant for component in components]
        mask = mask_of(tuple(self.components), np.shape(self.payload), None)
        return judged(components, mask if self.relevant else ~mask, explanation)

    def together(self, size: int) -> Truth:
        """Where every `size` columns of a table are one thing: it matters if one of its columns does."""
        if size == 1 or np.ndim(self.payload) != 1:
            return self
        groups = [frozenset(range(first, first + size)) for first in range(0, len(self.payload), size)]
        some = [bool(group & self.components) if self.relevant else group <= self.components for group in groups]
        return replace(self, components=frozenset().union(*compress(groups, some)))

    def all(self, explanation: Explanations | None) -> list[int]:
        """Every component of the explanation, or without one of the payload."""
        if isinstance(self.payload, str):
            return sorted({words.column(word) for word in words.tokens(self.payload)})
        if explanation is None:
            return list(range(int(np.prod(self.payload.shape[-2:]))))
        if explanation.segments is not None:
            return [int(number) for number in np.unique(explanation.segments[0])]
        return list(range(explanation.attributions.shape[1]))


def knows(pool: Pool) -> bool:
    """Whether the pool says what matters."""
    return any(name in pool.columns for name in TRUTHS)


def truths(pool: Pool, rows: Rows, payload: Any) -> list[Truth]:
    """Of rows (ascending), given their payload in the same order."""
    name = next(name for name in TRUTHS if name in pool.columns)
    found = pool.read(rows, [name])[name].to_pylist()
    return [
        Truth(payload=each, components=frozenset(listed or ()), relevant=name == "relevant")
        for each, listed in zip(payload, found, strict=True)
    ]


def shown_of(truth: Truth, explanation: Explanations, k: int | Literal["gold"] | None) -> tuple[int, ...]:
    """The k components shown; gold: as many as matter."""
    if k == "gold":
        k = sum(truth.of(explanation, truth.all(explanation)))
    return shown_components(explanation, k)


def f1(truth: Truth, explanation: Explanations, k: int | Literal["gold"] | None) -> float:
    """Of the k components shown against what matters, in [0, 1]; 0 where nothing right was shown."""
    shown = shown_of(truth, explanation, k)
    hits = sum(truth.of(explanation, shown))
    there = sum(truth.of(explanation, truth.all(explanation)))
    return 2 * hits / (len(shown) + there) if len(shown) + there else 1.0


def on_irrelevant(truth: Truth, explanation: Explanations) -> float:
    """Share of the absolute attribution that lies on what does not matter, in [0, 1]."""
    components = truth.all(explanation)
    values = explanation.attributions
    row = values[0, components] if isinstance(values, np.ndarray) else dense(values[[0]][:, components])[0]
    weight = np.abs(np.nan_to_num(row))
    if explanation.segments is not None:  # a feature's attribution is that of each of its pixels in a heat map
        weight = weight * np.bincount(explanation.segments[0].ravel(), minlength=max(components) + 1)[components]
    total = float(weight.sum())
    return float(weight[~np.array(truth.of(explanation, components))].sum()) / total if total else 0.0


def recall(truth: Truth, explanation: Explanations) -> float:
    """Recall at k = how many matter: their share among the k components of largest attribution, in [0, 1]."""
    there = [each for each, good in zip(*_judged_all(truth, explanation), strict=True) if good]
    if not there:
        return 1.0
    return len(set(there) & set(shown_components(explanation, len(there)))) / len(there)


def distance(truth: Truth, explanation: Explanations, label: int) -> float:
    """Squared distance of the attributions to z: 1 where a component matters, -1 where the class explained is not the
    item's, 0 elsewhere. For weights that lie in [-1, 1]."""
    components, matters = _judged_all(truth, explanation)
    sign = 1.0 if int(explanation.explained_class[0]) == label else -1.0
    return float(((dense(explanation.attributions)[0, components] - np.where(matters, sign, 0.0)) ** 2).sum())


def _judged_all(truth: Truth, explanation: Explanations) -> tuple[list[int], list[bool]]:
    components = truth.all(explanation)
    return components, truth.of(explanation, components)
