"""Diverse mini-batches: of the most uncertain items, one of each cluster."""

import numpy as np

import xal


def test_one_of_each_cluster_of_the_uncertain_items() -> None:
    generator = np.random.default_rng(0)
    corners = np.repeat(np.eye(4), 50, axis=0) + 0.01 * generator.normal(size=(200, 4))
    margin = np.full(200, 0.9)
    unsure = np.concatenate([np.arange(start, start + 10) for start in (0, 50, 100, 150)])
    margin[unsure] = 0.1 + 0.01 * generator.random(40)
    p = np.stack([(1 + margin) / 2, (1 - margin) / 2], axis=1)
    found = xal.query("diverse_mini_batch", n=4, embeddings=corners, probabilities=p)
    assert set(found.positions.tolist()) <= set(unsure.tolist())
    assert sorted(position // 50 for position in found.positions) == [0, 1, 2, 3]
    assert np.all(np.diff(found.scores) <= 0)
    assert found.notes[0] == "10 of the 40 most uncertain items are in its cluster"


def test_weights_pull_the_centres_to_the_uncertain() -> None:
    """Two groups of one cluster: the centre lies beside the group that is unsure."""
    line = np.array([[1.0, 0.0]] * 5 + [[1.0, 0.3]] * 5)
    margin = np.repeat([0.99, 0.0], 5)
    p = np.stack([(1 + margin) / 2, (1 - margin) / 2], axis=1)
    found = xal.query({"name": "diverse_mini_batch", "spare": 10}, n=1, embeddings=line, probabilities=p)
    assert found.positions[0] >= 5
