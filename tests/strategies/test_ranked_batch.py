"""Ranked batches against modAL."""

import numpy as np
import pytest
from modAL.batch import ranked_batch

from tests.strategies.arrays import asked, blobs


class Committee:
    """What modAL asks of a classifier."""

    def __init__(self, training: np.ndarray) -> None:
        self.X_training = training

    def _get_training_data(self) -> np.ndarray:
        return self.X_training

    def transform_without_estimating(self, values: np.ndarray) -> np.ndarray:
        return values

    on_transformed = False


@pytest.mark.parametrize("n_labelled", [5, 60])
def test_the_same_items_as_modal(n_labelled: int) -> None:
    embeddings, probabilities = blobs(n=200)
    embeddings = embeddings.astype(np.float32).astype(np.float64)
    labelled = list(range(n_labelled))
    free = np.arange(n_labelled, 200)
    theirs = ranked_batch(
        Committee(embeddings[labelled]),
        unlabeled=embeddings[free],
        uncertainty_scores=1 - probabilities[free].max(axis=1),
        n_instances=20,
        metric="euclidean",
        n_jobs=1,
    )
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    found = asked("ranked_batch", 20, embeddings=embeddings, probabilities=probabilities, labelled=labelled)
    assert found == free[theirs].tolist()


def test_nothing_labelled_begins_with_the_most_uncertain() -> None:
    embeddings, probabilities = blobs(n=50)
    found = asked("ranked_batch", 50, embeddings=embeddings, probabilities=probabilities)
    assert found[0] == probabilities.max(axis=1).argmin() and sorted(found) == list(range(50))
