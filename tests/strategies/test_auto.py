"""The rule of auto: what is known decides which part chooses."""

from typing import Any

import numpy as np
import pytest

import xal
from tests.strategies.arrays import blobs
from xal.errors import XalError
from xal.strategies.auto import Auto

N = 400


def chosen(n_labelled: int, strategy: Any = "auto") -> xal.Selection:
    embeddings, probabilities = blobs(N)
    labels = np.arange(n_labelled) % 4
    return xal.query(
        strategy,
        n=5,
        embeddings=embeddings,
        probabilities=probabilities,
        labelled=list(range(n_labelled)),
        labels=labels if n_labelled else None,
    )


@pytest.mark.parametrize(
    ("n_labelled", "part", "why"),
    [
        (0, "max_herding", "max_herding (nothing is labelled)"),
        (3, "max_herding", "max_herding (labels a class: 0.75, fewer than 1)"),
        (4, "uncertainty_herding", "uncertainty_herding (labels a class: 1)"),
        (40, "diverse_mini_batch", "diverse_mini_batch (labels a class: 10, 10 or more)"),
    ],
)
def test_the_number_of_labels_a_class_decides(n_labelled: int, part: str, why: str) -> None:
    found = chosen(n_labelled, Auto(few=1, unseen=1, many=10))
    assert set(found.reasons) == {part}
    assert all(note.endswith(why) for note in found.notes)


def test_it_asks_as_its_part_would() -> None:
    embeddings, probabilities = blobs(N)
    labelled = list(range(20))
    given = {"embeddings": embeddings, "probabilities": probabilities, "labelled": labelled, "n": 9}
    auto = xal.query(Auto(few=1, unseen=1, many=10), labels=np.arange(20) % 4, **given)
    assert auto.positions.tolist() == xal.query("uncertainty_herding", **given).positions.tolist()


def test_a_class_without_labels_is_looked_for_first() -> None:
    embeddings, probabilities = blobs(N)
    given = {"embeddings": embeddings, "probabilities": probabilities, "n": 5}
    unseen = xal.query("auto", labelled=list(range(8)), labels=np.arange(8) % 3, **given)
    assert set(unseen.reasons) == {"max_herding"}
    assert unseen.notes[0].endswith("max_herding (1 of 4 classes have no label)")
    never = xal.query("auto", labelled=list(range(12)), labels=np.arange(12) % 3, **given)  # it may not occur at all
    assert set(never.reasons) == {"uncertainty_herding"}


def test_a_rule_that_cannot_be() -> None:
    with pytest.raises(XalError, match="few <= unseen <= many, got 30, 3 and 3"):
        Auto(few=30, many=3)
