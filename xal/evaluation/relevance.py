"""Relevance: the parts of an item that a pool marks as relevant, to simulate annotators and evaluate explanations.

The pool's column `relevant` or `irrelevant` lists pixels (row by row), columns of a table, or hashed word columns. No
strategy and no model reads it.
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
    """The relevant components of one item."""

    form: Form
    components: frozenset[int]  # hashed word columns, columns of a table, or pixels row by row
    relevant: bool  # whether `components` lists the relevant components; False: the irrelevant ones

    def of(self, explanation: Explanations | None, components: Sequence[int]) -> list[bool]:
        """For each component of an explanation, or of the payload if None, whether it is relevant."""
        if isinstance(self.form, str):
            return [(component in self.components) == self.relevant for component in components]
        mask = mask_of(tuple(self.components), self.form, None)
        return are_relevant(components, mask if self.relevant else ~mask, explanation)

    def merge_onehot(self, size: int) -> Relevance:
        """Group every `size` columns of a table: a group is relevant, as a whole, if any of its columns is."""
        if size == 1 or isinstance(self.form, str) or len(self.form) != 1:
            return self
        groups = [frozenset(range(first, first + size)) for first in range(0, self.form[0], size)]
        listed = [bool(group & self.components) if self.relevant else group <= self.components for group in groups]
        return replace(self, components=frozenset().union(*compress(groups, listed)))

    def all(self, explanation: Explanations | None) -> list[int]:
        """Every component of the explanation, or of the payload if None."""
        if isinstance(self.form, str):
            return sorted({hashed_words.column(word) for word in hashed_words.tokens(self.form)})
        if explanation is None:
            return list(range(int(np.prod(self.form[-2:]))))
        if explanation.segments is not None:
            return [int(number) for number in np.unique(explanation.segments[0])]
        return list(range(explanation.attributions.shape[1]))


def has_relevance(pool: Pool) -> bool:
    """Whether the pool has a column `relevant` or `irrelevant`."""
    return any(name in pool.columns for name in RELEVANCE_COLUMNS)


def read_relevance(pool: Pool, rows: Rows, shape: Shape) -> list[Relevance]:
    """The relevance of the items at ascending `rows`. shape: of an item as the model takes it."""
    name = next(name for name in RELEVANCE_COLUMNS if name in pool.columns)
    table = pool.read(rows, [name, pool.kind] if pool.kind == "text" else [name])
    lists = table[name].to_pylist()
    forms = forms_of(table[pool.kind] if pool.kind == "text" else lists, pool.kind, shape)
    return [
        Relevance(form=form, components=frozenset(listed or ()), relevant=name == "relevant")
        for form, listed in zip(forms, lists, strict=True)
    ]


def shown_of(relevance: Relevance, explanation: Explanations, k: int | Literal["gold"] | None) -> tuple[int, ...]:
    """The k components of largest attribution; gold: as many as are relevant; None: all."""
    if k == "gold":
        k = sum(relevance.of(explanation, relevance.all(explanation)))
    return shown_components(explanation, k)


def f1(relevance: Relevance, explanation: Explanations, k: int | Literal["gold"] | None) -> float:
    """F1 of the k components shown as a prediction of the relevant ones, in [0, 1]; 1 if neither has any."""
    shown = shown_of(relevance, explanation, k)
    hits = sum(relevance.of(explanation, shown))
    n_relevant = sum(relevance.of(explanation, relevance.all(explanation)))
    return 2 * hits / (len(shown) + n_relevant) if len(shown) + n_relevant else 1.0


def on_irrelevant(relevance: Relevance, explanation: Explanations) -> float:
    """Share of the absolute attribution on irrelevant components, in [0, 1]; 0 if all attributions are 0."""
    components = relevance.all(explanation)
    values = explanation.attributions
    row = values[0, components] if isinstance(values, np.ndarray) else dense(values[[0]][:, components])[0]
    weight = np.abs(np.nan_to_num(row))
    if explanation.segments is not None:  # every pixel of a segment has its attribution, as in a heat map
        weight = weight * np.bincount(explanation.segments[0].ravel(), minlength=max(components) + 1)[components]
    total = float(weight.sum())
    return float(weight[~np.array(relevance.of(explanation, components))].sum()) / total if total else 0.0


def recall(relevance: Relevance, explanation: Explanations) -> float:
    """Share of the k relevant components among the k of largest attribution, in [0, 1]; 1 if none is relevant."""
    relevant = set(compress(*_components(relevance, explanation)))
    if not relevant:
        return 1.0
    return len(relevant & set(shown_components(explanation, len(relevant)))) / len(relevant)


def distance(relevance: Relevance, explanation: Explanations, label: int) -> float:
    """Squared distance of the attributions to their targets z, for weights in [-1, 1].

    z is 0 for irrelevant components; for relevant ones it is 1, or -1 if the class explained is not `label`.
    """
    components, relevant = _components(relevance, explanation)
    sign = 1.0 if int(explanation.explained_class[0]) == label else -1.0
    return float(((dense(explanation.attributions)[0, components] - np.where(relevant, sign, 0.0)) ** 2).sum())


def _components(relevance: Relevance, explanation: Explanations) -> tuple[list[int], list[bool]]:
    """(every component of the explanation, whether each is relevant)."""
    components = relevance.all(explanation)
    return components, relevance.of(explanation, components)
