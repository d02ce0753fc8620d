"""Diverse sampling: the keys of Efraimidis and Spirakis, and clusters that are equally likely whatever their size."""

import numpy as np
import pytest
from scipy.stats import chisquare

from xal.core.rng import HashRng
from xal.errors import XalError
from xal.strategies.diverse import Diverse
from xal.types import Evidence

SIZES = (300, 30, 10)
CENTRES = np.array([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]])


def pool() -> tuple[Evidence, np.ndarray]:
    """Three groups far apart, and the group of each item."""
    group = np.repeat(np.arange(3), SIZES)
    embeddings = CENTRES[group] + np.random.default_rng(0).normal(size=(len(group), 2))
    ids = np.array([f"item-{i}" for i in range(len(group))], object)
    return Evidence(ids=ids, rows=np.arange(len(group)), embeddings=embeddings), group


def test_scores_are_log_u_times_the_size_of_the_cluster() -> None:
    given, group = pool()
    strategy = Diverse(clusters=3)
    state = strategy.prepare(None, given, None)
    rng = HashRng(5)
    expected = np.log(rng.uniform(given.ids)) * np.array(SIZES)[group]
    np.testing.assert_allclose(strategy.score(given, state, rng), expected, rtol=1e-6)


def test_each_cluster_is_first_about_equally_often() -> None:
    """chi-squared of 3,000 first items; drawn evenly over the items they would split 30 : 3 : 1."""
    given, group = pool()
    strategy = Diverse(clusters=3)
    state = strategy.prepare(None, given, None)
    first = [group[strategy.score(given, state, HashRng(seed)).argmax()] for seed in range(3000)]
    assert chisquare(np.bincount(first, minlength=3)).pvalue > 1e-3


def test_fewer_items_than_clusters_and_none_at_all() -> None:
    given, _ = pool()
    centres, counts = Diverse(clusters=64).prepare(None, given.take(slice(0, 5)), None)
    assert centres.shape == (5, 2) and counts.tolist() == [1.0] * 5
    with pytest.raises(XalError, match="no item of the pool is left"):
        Diverse().prepare(None, None, None)
