"""BADGE against k-means++ on gradients that are built."""

import numpy as np

from tests.strategies.arrays import asked, blobs
from xal.strategies.badge import Badge
from xal.strategies.joint import generator_of
from xal.types import Evidence, Scored


def gradients(embeddings: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    difference = probabilities - np.eye(probabilities.shape[1])[probabilities.argmax(axis=1)]
    return np.einsum("nc,nd->ncd", difference, embeddings).reshape(len(embeddings), -1)


def candidates(embeddings: np.ndarray, probabilities: np.ndarray) -> Scored:
    n = len(embeddings)
    ids = np.array([f"{number:04d}" for number in range(n)], object)
    given = Evidence(ids=ids, rows=np.arange(n), embeddings=embeddings, probabilities=probabilities)
    return Scored(ids=ids, rows=np.arange(n), scores=np.random.default_rng(1).random(n), evidence=given)


def test_the_choice_is_that_of_k_means_plus_plus_on_gradients() -> None:
    embeddings, probabilities = blobs()
    given = candidates(embeddings, probabilities)
    g = gradients(embeddings, probabilities)
    generator = generator_of(given)
    plain = [int((g**2).sum(axis=1).argmax())]
    distances = ((g - g[plain[0]]) ** 2).sum(axis=1)
    while len(plain) < 40:
        weights = distances.copy()
        weights[plain] = 0
        total = np.cumsum(weights)
        plain.append(int(np.searchsorted(total, generator.random() * total[-1], side="right")))
        distances = np.minimum(distances, ((g - g[plain[-1]]) ** 2).sum(axis=1))
    assert Badge().choose(given, None, 40)[0].tolist() == plain


def test_draws_are_proportional_to_squared_distances() -> None:
    """How often each of a few items is the second, over many draws."""
    embeddings, probabilities = blobs(n=8, d=3, classes=3)
    g = gradients(embeddings, probabilities)
    first = int((g**2).sum(axis=1).argmax())
    expected = ((g - g[first]) ** 2).sum(axis=1)
    expected /= expected.sum()
    given = candidates(embeddings, probabilities)
    counts = np.zeros(8)
    for seed in range(2000):
        scores = np.random.default_rng(seed).random(8)
        chosen = Badge().choose(Scored(ids=given.ids, rows=given.rows, scores=scores, evidence=given.evidence), None, 2)
        counts[chosen[0][1]] += 1
    np.testing.assert_allclose(counts / 2000, expected, atol=0.04)


def test_lengths_count() -> None:
    """Embeddings of one direction are no duplicates: the longest with an unsure prediction has the largest gradient."""
    embeddings = np.array([[1.0], [2], [4], [8], [0.5], [-1]])
    probabilities = np.array([[0.99, 0.01], [0.9, 0.1], [0.8, 0.2], [0.5, 0.5], [0.99, 0.01], [0.6, 0.4]])
    assert asked("badge", 1, embeddings=embeddings, probabilities=probabilities) == [3]


def test_equal_gradients() -> None:
    """One class that is certain everywhere: gradients of zero, and still distinct items."""
    embeddings, _ = blobs(n=30)
    certain = np.tile([1.0, 0.0], (30, 1))
    assert len(asked("badge", 10, embeddings=embeddings, probabilities=certain)) == 10
    twice = np.repeat(embeddings[:5], 10, axis=0)
    unsure = np.tile([0.6, 0.4], (50, 1))
    chosen = asked("badge", 5, embeddings=twice, probabilities=unsure)
    assert sorted(position // 10 for position in chosen) == [0, 1, 2, 3, 4]  # never the same vector twice
