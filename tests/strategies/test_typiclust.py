"""TypiClust on clusters that are far apart, where k-means finds them whatever its start."""

from itertools import pairwise

import numpy as np
import pytest

import xal
from tests.strategies.arrays import asked
from xal.strategies.typiclust import TypiClust, by_typicality

SIZES = (40, 30, 20, 10)


def corners() -> np.ndarray:
    """(100, 4) four clusters of these sizes at right angles."""
    generator = np.random.default_rng(0)
    return np.repeat(np.eye(4), SIZES, axis=0) + 0.05 * generator.normal(size=(100, 4))


def plain_typical(points: np.ndarray, neighbours: int) -> int:
    distances = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2))
    near = np.sort(distances, axis=1)[:, 1 : neighbours + 1]
    return int(near.mean(axis=1).argmin())


@pytest.mark.parametrize("n", [2, 5, 30, 300])
def test_typicality(n: int) -> None:
    points = np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32)
    assert by_typicality(points, 20)[0] == plain_typical(points, 20)


def test_the_most_typical_of_each_cluster_the_largest_first() -> None:
    embeddings = corners()
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    edges = np.cumsum([0, *SIZES])
    expected = [start + plain_typical(unit[start:stop], 20) for start, stop in pairwise(edges)]
    assert asked("typiclust", 4, embeddings=embeddings) == expected


def test_clusters_without_labels_come_first() -> None:
    embeddings = corners()
    found = xal.query("typiclust", embeddings=embeddings, labelled=[0, 41], n=2)  # clusters 0 and 1 have one each
    assert [np.searchsorted(np.cumsum(SIZES), position, side="right") for position in found.positions] == [2, 3]
    assert found.notes[0] == "typical of 20 alike items and 0 labelled ones"


def test_more_items_than_clusters_and_equal_items() -> None:
    assert len(asked({"name": "typiclust", "clusters": 3}, 50, embeddings=corners())) == 50
    assert len(asked("typiclust", 10, embeddings=np.ones((12, 3)))) == 10
    assert len(asked("typiclust", 12, embeddings=np.zeros((12, 3)))) == 12


def test_small_clusters_only_if_no_others_are_left() -> None:
    embeddings = np.concatenate([np.repeat(np.eye(3)[:2], 10, axis=0), np.eye(3)[2:]])
    embeddings += 0.01 * np.random.default_rng(0).normal(size=embeddings.shape)
    assert 20 not in asked(TypiClust(clusters=3), 20, embeddings=embeddings)
    assert asked(TypiClust(clusters=3), 21, embeddings=embeddings)[-1] == 20
