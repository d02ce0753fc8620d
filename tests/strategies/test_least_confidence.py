"""Least confidence against its definition, and at its bounds."""

import numpy as np
import pytest

from tests.strategies.samples import predicted, random_probabilities
from xal.core.rng import HashRng
from xal.strategies.least_confidence import LeastConfidence
from xal.types import Evidence


def score(probabilities: np.ndarray) -> np.ndarray:
    return LeastConfidence().score(predicted(probabilities), None, HashRng(0))


def test_least_confidence_is_one_minus_the_largest() -> None:
    p = random_probabilities(3)
    np.testing.assert_allclose(score(p), [1 - max(row) for row in p], rtol=1e-12)


def test_least_confidence_at_its_bounds() -> None:
    """Certain: 0. Uniform over c classes: 1 - 1/c."""
    p = np.stack([np.eye(4)[2], np.full(4, 0.25)])
    np.testing.assert_array_equal(score(p), [0, 1 - 1 / 4])


def test_the_surest_item_is_last_and_the_most_doubtful_first() -> None:
    p = np.array([[0.98, 0.01, 0.01], [1 / 3, 1 / 3, 1 / 3], [0.7, 0.2, 0.1]])
    assert np.argsort(-score(p)).tolist() == [1, 2, 0]


def test_missing_probabilities_are_an_error_of_the_plan() -> None:
    bare = Evidence(ids=np.array(["a"], object), rows=np.arange(1))
    with pytest.raises(TypeError, match="needs"):
        LeastConfidence().score(bare, None, HashRng(0))
