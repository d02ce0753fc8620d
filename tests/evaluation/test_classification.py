"""Measures that shards add up, against scikit-learn on all items."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss

from xal.evaluation.classification import Confusion

CLASSES = 5


def drawn(seed: int, n: int = 200, present: int = CLASSES) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.dirichlet(np.ones(CLASSES), n), generator.integers(0, present, n)


@pytest.mark.parametrize("present", [CLASSES, 3])
def test_is_scikit_learns(present: int) -> None:
    """macro F1 is the mean over the classes that the labels have, and not over those that are only predicted."""
    probabilities, true = drawn(0, present=present)
    predicted = probabilities.argmax(axis=1)
    found = Confusion.of(probabilities, true)
    metrics = found.metrics()
    np.testing.assert_array_equal(found.counts, confusion_matrix(true, predicted, labels=range(CLASSES)))
    assert metrics["accuracy"] == pytest.approx(accuracy_score(true, predicted))
    f1 = f1_score(true, predicted, labels=np.unique(true), average="macro")
    assert metrics["macro_f1"] == pytest.approx(f1)
    assert metrics["log_loss"] == pytest.approx(log_loss(true, probabilities, labels=range(CLASSES)))
    assert metrics["test_items"] == found.n_items == 200


def test_shards_add_up() -> None:
    probabilities, true = drawn(1)
    parts = [Confusion.of(probabilities[i : i + 37], true[i : i + 37]) for i in range(0, 200, 37)]
    total = sum(parts, Confusion.none(CLASSES))
    assert total.metrics() == pytest.approx(Confusion.of(probabilities, true).metrics())


def test_a_class_that_is_never_predicted_counts_as_0() -> None:
    """Two classes, all predicted as the first: F1 of 2 * 0.5 / 1.5 and of 0."""
    metrics = Confusion.of(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1])).metrics()
    assert metrics["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)


def test_a_label_of_no_probability_has_a_finite_loss() -> None:
    """-log 1e-30."""
    metrics = Confusion.of(np.array([[1.0, 0.0]]), np.array([1])).metrics()
    assert metrics["log_loss"] == pytest.approx(30 * np.log(10)) and metrics["accuracy"] == 0


def test_a_model_that_answers_one_class_only_is_told() -> None:
    same = np.tile([0.1, 0.7, 0.2], (4, 1))
    assert Confusion.of(same, np.array([0, 1, 2, 1])).metrics()["answers_only"] == 1
    assert "answers_only" not in Confusion.of(same, np.array([1, 1, 1, 1])).metrics()
    assert "answers_only" not in Confusion.of(np.eye(3), np.array([0, 1, 2])).metrics()
