"""Explanations against what is relevant, by hand."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from xal.core import hashed_words
from xal.evaluation.relevance import Relevance, distance, f1, on_irrelevant, recall
from xal.types import Explanations, FeatureKind


def explained(kind: FeatureKind, attributions: Any, segments: Any = None) -> Explanations:
    return Explanations(
        feature_kind=kind,
        attributions=attributions,
        interpretable_input=attributions,
        explained_class=np.array([1]),
        probability=np.array([0.9]),
        segments=segments,
    )


def test_the_columns_of_a_row() -> None:
    relevance = Relevance(form=(4,), components=frozenset({0, 3}), relevant=True)
    given = explained("columns", np.array([[0.6, -0.3, 0.0, 0.1]]))
    assert f1(relevance, given, 2) == pytest.approx(2 * 1 / (2 + 2)) and f1(relevance, given, None) == pytest.approx(
        4 / 5
    )
    assert f1(relevance, given, "gold") == f1(relevance, given, 2)
    assert recall(relevance, given) == 0.5 and on_irrelevant(relevance, given) == pytest.approx(0.3)
    assert distance(relevance, given, label=1) == pytest.approx(0.4**2 + 0.3**2 + 0.9**2)
    assert distance(relevance, given, label=0) == pytest.approx(1.6**2 + 0.3**2 + 1.1**2)
    opposite = dataclasses.replace(relevance, relevant=False)
    assert on_irrelevant(opposite, given) == pytest.approx(0.7) and f1(opposite, given, 1) == 0.0


def test_a_category_is_relevant_as_a_whole() -> None:
    relevance = Relevance(form=(6,), components=frozenset({1, 4, 5}), relevant=True)
    assert relevance.merge_onehot(1) is relevance and relevance.merge_onehot(2).components == {0, 1, 4, 5}
    assert dataclasses.replace(relevance, relevant=False).merge_onehot(2).components == {4, 5}
    assert dataclasses.replace(relevance, form="a b").merge_onehot(2).components == {1, 4, 5}


def test_patches_of_an_image_count_with_their_pixels() -> None:
    relevance = Relevance(form=(1, 2, 3), components=frozenset({2, 5}), relevant=False)  # the right column
    given = explained("segments", np.array([[0.5, 1.0]]), np.array([[[0, 0, 1], [0, 0, 1]]]))
    assert relevance.all(given) == [0, 1] and relevance.of(given, (0, 1)) == [True, False]
    assert on_irrelevant(relevance, given) == pytest.approx(2 * 1.0 / (4 * 0.5 + 2 * 1.0))
    assert f1(relevance, given, 1) == 0.0 and f1(relevance, given, None) == pytest.approx(2 / 3)


def test_the_words_of_a_text() -> None:
    good, plot = hashed_words.column("good"), hashed_words.column("plot")
    places = np.zeros(2, int), np.array([good, plot])
    row = sparse.csr_array((np.array([0.8, -0.2]), places), shape=(1, hashed_words.COLUMNS))
    relevance = Relevance(form="good plot", components=frozenset({good}), relevant=True)
    assert f1(relevance, explained("words", row), 1) == 1.0 and on_irrelevant(
        relevance, explained("words", row)
    ) == pytest.approx(0.2)
