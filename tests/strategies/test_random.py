"""Random draws: uniform, independent between rounds and seeds, and the item's own."""

import math

import numpy as np
from scipy.stats import kstest

from xal.core.rng import HashRng
from xal.strategies.random import Random
from xal.types import Evidence

RNG = HashRng(0).child("round", 1)


def evidence(n: int) -> Evidence:
    return Evidence(ids=np.array([f"item-{i}" for i in range(n)], object), rows=np.arange(n))


def score(given: Evidence, rng: HashRng = RNG) -> np.ndarray:
    return Random().score(given, None, rng)


def test_random_draws_are_uniform() -> None:
    """Kolmogorov-Smirnov against U(0, 1), and a mean within four standard errors 1/sqrt(12 n) of 1/2."""
    n = 20_000
    draws = score(evidence(n))
    assert draws.min() >= 0 and draws.max() < 1
    assert kstest(draws, "uniform").pvalue > 1e-3
    assert abs(draws.mean() - 0.5) < 4 / math.sqrt(12 * n)
    assert len(np.unique(draws)) == n


def test_a_random_draw_depends_on_its_id_alone() -> None:
    given = evidence(500)
    whole = dict(zip(given.ids, score(given), strict=True))
    order = np.random.default_rng(4).permutation(500)
    for part in np.array_split(order, 13):
        piece = given.take(part)
        np.testing.assert_array_equal(score(piece), [whole[item] for item in piece.ids])


def test_random_draws_of_other_rounds_and_seeds_are_uncorrelated() -> None:
    """|r| of n independent pairs has a standard deviation of 1/sqrt(n)."""
    n = 5000
    given = evidence(n)
    sources = [
        HashRng(0).child("round", 1),
        HashRng(0).child("round", 2),
        HashRng(1).child("round", 1),
        HashRng(0).child("score", 1),
    ]
    draws = [score(given, source) for source in sources]
    correlations = np.corrcoef(draws)
    np.testing.assert_array_less(np.abs(correlations - np.eye(len(sources))), 5 / math.sqrt(n))
    np.testing.assert_array_equal(draws[0], score(given, HashRng(0).child("round", 1)))
