"""k-center greedy against scikit-activeml's core-set, and a plain greedy."""

import numpy as np
import pytest
from skactiveml.pool import CoreSet

from tests.strategies.arrays import asked, blobs


def test_the_same_items_as_scikit_activeml() -> None:
    embeddings, _ = blobs(n=500)
    labelled = list(range(0, 500, 25))
    y = np.full(500, np.nan)
    y[labelled] = 0
    theirs = CoreSet(random_state=0).query(embeddings, y, batch_size=40)
    assert asked("k_center", 40, embeddings=embeddings, labelled=labelled) == theirs.tolist()


def test_farthest_first_from_nothing() -> None:
    embeddings, _ = blobs(n=100)
    plain = [0]
    while len(plain) < 20:
        distances = ((embeddings[:, None] - embeddings[plain]) ** 2).sum(axis=2).min(axis=1)
        plain.append(int(distances.argmax()))
    assert asked("k_center", 20, embeddings=embeddings) == plain


@pytest.mark.parametrize("strategy", ["k_center", "ranked_batch"])
def test_a_column_far_from_zero_changes_nothing(strategy: str) -> None:
    embeddings, probabilities = blobs(n=200)
    given = {"probabilities": probabilities, "labelled": [0, 1, 2]}
    near = asked(strategy, 10, embeddings=embeddings, **given)
    assert asked(strategy, 10, embeddings=embeddings + 1e5, **given) == near


def test_equal_vectors_come_last() -> None:
    twice = np.repeat(np.eye(4), 5, axis=0)
    chosen = asked("k_center", 8, embeddings=twice)
    assert sorted(position // 5 for position in chosen[:4]) == [0, 1, 2, 3]
