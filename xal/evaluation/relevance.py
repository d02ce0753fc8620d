"""Which parts of an item are relevant, where a pool knows it: a column `relevant` or `irrelevant` that lists pixels row by
row, a table's columns, or words' columns. For simulated annotators and to evaluate explanations; no strategy and no model
ever sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Literal

import numpy as np

from xal.core import hashed_words
from xal.data.decode import forms_of
from xal.data.pool import RELEVANCE_COLUMNS, Pool
from xal.explainers.components import are_relevant, mask_of, shown_components
from xal.types import Explanations, Form, Rows, Shape, dense


@dataclass(frozen=True, eq=False, kw_only=True)
class Relevance:
    """What matters in one item."""

    form: Form
    components: frozenset[int]  # words' columns, columns of a table, or pixels row by row
    relevant: bool  # whether those are what matters, or what does not

    def of(self, explanation: Explanations | None, components: Sequence[int]) -> list[bool]:
        """Whether components of an explanation are relevant."""
        if isinstance(self.form, str):
            return [(component in self.components) == self.relevant for component in components]
        mask = mask_of(tuple(self.components), self.form, None)
        return are_relevant(components, mask if self.relevant else ~mask, explanation)

    def merge_onehot(self, size: int) -> Relevance:
        """Where every `size` columns of a table are one thing: it matters if one of its columns does."""
        if size == 1 or isinstance(self.form, str) or len(self.form) != 1:
            return self
        groups = [frozenset(range(first, first + size)) for first in range(0, self.form[0], size)]
        some = [bool(group & self.components) if self.relevant else group <= self.components for group in groups]
        return replace(self, components=frozenset().union(*compress(groups, some)))

    def all(self, explanation: Explanations | None) -> list[int]:
        """Every component of the explanation, or without one of the payload."""
        if isinstance(self.form, str):
            return sorted({hashed_words.column(word) for word in hashed_words.tokens(self.form)})
        if explanation is None:
            return list(range(int(np.prod(self.form[-2:]))))
        if explanation.segments is not None:
            return [int(number) for number in np.unique(explanation.segments[0])]
        return list(range(explanation.attributions.shape[1]))


def has_relevance(pool: Pool) -> bool:
    """Whether the pool says what matters."""
    return any(name in pool.columns for name in RELEVANCE_COLUMNS)


def read_relevance(pool: Pool, rows: Rows, shape: Shape) -> list[Relevance]:
    """Of rows (ascending); shape: of an item as the model takes it."""
    name = next(name for name in RELEVANCE_COLUMNS if name in pool.columns)
    table = pool.read(rows, [name, pool.kind] if pool.kind == "text" else [name])
    found = table[name].to_pylist()
    forms = forms_of(table[pool.kind] if pool.kind == "text" else found, pool.kind, shape)
    return [
        Relevance(form=form, components=frozenset(listed or ()), relevant=name == "relevant")
        for form, listed in zip(forms, found, strict=True)
    ]


def shown_of(relevance: Relevance, explanation: Explanations, k: int | Literal["gold"] | None) -> tuple[int, ...]:
    """The k components shown; gold: as many as matter."""
    if k == "gold":
        k = sum(relevance.of(explanation, relevance.all(explanation)))
    return shown_components(explanation, k)


def f1(relevance: Relevance, explanation: Explanations, k: int | Literal["gold"] | None) -> float:
    """Of the k components shown against what matters, in [0, 1]; 0 where nothing right was shown."""
    shown = shown_of(relevance, explanation, k)
    hits = sum(relevance.of(explanation, shown))
    there = sum(relevance.of(explanation, relevance.all(explanation)))
    return 2 * hits / (len(shown) + there) if len(shown) + there else 1.0


def on_irrelevant(relevance: Relevance, explanation: Explanations) -> float:
    """Share of the absolute attribution that lies on what does not matter, in [0, 1]."""
    components = relevance.all(explanation)
    values = explanation.attributions
    row = values[0, components] if isinstance(values, np.ndarray) else dense(values[[0]][:, components])[0]
    weight = np.abs(np.nan_to_num(row))
    if explanation.segments is not None:  # a feature's attribution is that of each of its pixels in a heat map
        weight = weight * np.bincount(explanation.segments[0].ravel(), minlength=max(components) + 1)[components]
    total = float(weight.sum())
    return float(weight[~np.array(relevance.of(explanation, components))].sum()) / total if total else 0.0


def recall(relevance: Relevance, explanation: Explanations) -> float:
    """Recall at k = how many matter: their share among the k components of largest attribution, in [0, 1]."""
    there = [each for each, good in zip(*_components(relevance, explanation), strict=True) if good]
    if not there:
        return 1.0
    return len(set(there) & set(shown_components(explanation, len(there)))) / len(there)


def distance(relevance: Relevance, explanation: Explanations, label: int) -> float:
    """Squared distance of the attributions to z: 1 where a component matters, -1 where the class explained is not the
    item's, 0 elsewhere. For weights that lie in [-1, 1]."""
    components, matters = _components(relevance, explanation)
    sign = 1.0 if int(explanation.explained_class[0]) == label else -1.0
    return float(((dense(explanation.attributions)[0, components] - np.where(matters, sign, 0.0)) ** 2).sum())


def _components(relevance: Relevance, explanation: Explanations) -> tuple[list[int], list[bool]]:
    components = relevance.all(explanation)
    return components, relevance.of(explanation, components)
