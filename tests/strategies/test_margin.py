"""The margin against a sort, and at its bounds."""

import numpy as np
import pytest

from tests.strategies.samples import predicted, random_probabilities
from xal.core.rng import HashRng
from xal.strategies.margin import Margin
from xal.types import Evidence


def score(probabilities: np.ndarray) -> np.ndarray:
    return Margin().score(predicted(probabilities), None, HashRng(0))


def test_margin_is_the_gap_of_the_two_largest() -> None:
    p = random_probabilities(2)
    expected = []
    for row in p:
        first, second = sorted(row, reverse=True)[:2]
        expected.append(-(first - second))
    np.testing.assert_allclose(score(p), expected, rtol=1e-12)


def test_margin_at_its_bounds() -> None:
    """Certain: -1. A tie of the two likeliest: 0. Two classes: -|2 p - 1|."""
    p = np.array([[1.0, 0.0], [0.5, 0.5], [0.3, 0.7]])
    np.testing.assert_allclose(score(p), [-abs(2 * row[0] - 1) for row in p], atol=1e-15)


def test_the_surest_item_is_last_and_the_most_doubtful_first() -> None:
    p = np.array([[0.98, 0.01, 0.01], [1 / 3, 1 / 3, 1 / 3], [0.7, 0.2, 0.1]])
    assert np.argsort(-score(p)).tolist() == [1, 2, 0]


def test_missing_probabilities_are_an_error_of_the_plan() -> None:
    bare = Evidence(ids=np.array(["a"], object), rows=np.arange(1))
    with pytest.raises(TypeError, match="needs"):
        Margin().score(bare, None, HashRng(0))
