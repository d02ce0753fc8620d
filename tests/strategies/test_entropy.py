"""Entropy against its definition, term by term, and at its bounds."""

import math

import numpy as np
import pytest

from tests.strategies.samples import predicted, random_probabilities
from xal.core.rng import HashRng
from xal.strategies.entropy import Entropy
from xal.types import Evidence


def score(probabilities: np.ndarray) -> np.ndarray:
    return Entropy().score(predicted(probabilities), None, HashRng(0))


def test_entropy_is_the_sum_of_its_definition() -> None:
    p = random_probabilities(0)
    expected = [-sum(x * math.log(x) for x in row) for row in p]
    np.testing.assert_allclose(score(p), expected, rtol=1e-12)


@pytest.mark.parametrize("c", [2, 3, 10])
def test_entropy_at_its_bounds(c: int) -> None:
    """Uniform: log c nats. Certain: 0, since 0 log 0 = 0. Half and half: log 2, whatever else is 0."""
    half = np.zeros(c)
    half[:2] = 0.5
    p = np.stack([np.full(c, 1 / c), np.eye(c)[0], half])
    np.testing.assert_allclose(score(p), [math.log(c), 0.0, math.log(2)], atol=1e-12)


def test_entropy_keeps_double_precision_in_the_sum_of_single_precision_terms() -> None:
    p = random_probabilities(1, c=1000).astype(np.float32)
    expected = [-math.fsum(float(x) * math.log(x) for x in row if x > 0) for row in p]
    scores = score(p)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, expected, rtol=1e-6)  # single precision has a relative step of 1.2e-7


def test_the_surest_item_is_last_and_the_most_doubtful_first() -> None:
    p = np.array([[0.98, 0.01, 0.01], [1 / 3, 1 / 3, 1 / 3], [0.7, 0.2, 0.1]])
    assert np.argsort(-score(p)).tolist() == [1, 2, 0]


def test_missing_probabilities_are_an_error_of_the_plan() -> None:
    bare = Evidence(ids=np.array(["a"], object), rows=np.arange(1))
    with pytest.raises(TypeError, match="needs"):
        Entropy().score(bare, None, HashRng(0))
