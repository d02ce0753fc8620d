"""DropQuery: candidates by flips, then one of each cluster."""

import numpy as np

import xal
from tests.strategies.arrays import asked


def given(n: int, flips: np.ndarray) -> dict[str, np.ndarray]:
    """Predictions of class 0; the first `flips` of the draws say class 1."""
    draws = np.tile([0.9, 0.1], (n, 10, 1))
    for number, count in enumerate(flips):
        draws[number, :count] = 0.1, 0.9
    return {"probabilities": np.tile([0.8, 0.2], (n, 1)), "sampled_probabilities": draws}


def test_only_items_that_flip_in_two_of_three_draws_while_there_are_enough() -> None:
    n, batch = 400, 4
    flips = np.arange(n) % 4  # 0 to 3
    embeddings = np.random.default_rng(0).normal(size=(n, 5))
    found = xal.query("dropquery", n=batch, embeddings=embeddings, **given(n, flips))
    assert all(flips[position] >= 2 for position in found.positions)
    assert set(found.notes) == {"its prediction changes in at least 2 of 3 draws of dropout"}


def test_one_item_of_each_cluster_of_candidates() -> None:
    corners = np.repeat(np.eye(4), 25, axis=0) + 0.01 * np.random.default_rng(0).normal(size=(100, 4))
    found = asked("dropquery", 4, embeddings=corners, **given(100, np.full(100, 3)))
    assert sorted(position // 25 for position in found) == [0, 1, 2, 3]


def test_fewer_flips_where_there_are_too_few_candidates() -> None:
    """Candidates are 25 times the batch: those that flip, then others at random."""
    flips = np.zeros(100, int)
    flips[:5] = 3
    embeddings = np.random.default_rng(0).normal(size=(100, 5))
    assert len(asked("dropquery", 50, embeddings=embeddings, **given(100, flips))) == 50
