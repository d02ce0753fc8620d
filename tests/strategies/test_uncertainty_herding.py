"""Uncertainty and max herding against a plain greedy in float64, and pools that leave nothing to gain."""

import numpy as np
import pytest

import xal
from xal.strategies.herding import cover, followers
from xal.strategies.joint import unit
from xal.strategies.max_herding import MaxHerding
from xal.strategies.uncertainty_herding import UncertaintyHerding

GENERATOR = np.random.default_rng(0)


def plain(points, weights, labelled, budget: int, h: float) -> list[int]:
    """Greedy by the definition, all gains anew in every step."""
    points, labelled = points.astype(np.float64), labelled.astype(np.float64)

    def kernel(to):
        return np.exp(-((points[:, None] - to[None]) ** 2).sum(axis=2) / h**2)

    covered = kernel(labelled).max(axis=1) if len(labelled) else np.zeros(len(points))
    every, chosen = kernel(points), []
    for _ in range(budget):
        gains = weights @ np.maximum(every - covered[:, None], 0)
        gains[chosen] = -1
        chosen.append(int(gains.argmax()))
        covered = np.maximum(covered, every[:, chosen[-1]])
    return chosen


@pytest.mark.parametrize("h", [0.3, 1.0])
@pytest.mark.parametrize("n_labelled", [0, 12])
def test_lazy_greedy_is_greedy(h: float, n_labelled: int) -> None:
    points = unit(GENERATOR.normal(size=(400, 6)) + 2 * np.eye(6)[GENERATOR.integers(0, 6, 400)])
    weights, labelled = GENERATOR.random(400), unit(GENERATOR.normal(size=(n_labelled, 6)))
    assert cover(points, weights, labelled, 40, h).tolist() == plain(points, weights, labelled, 40, h)


def given(n: int = 200):
    embeddings = GENERATOR.normal(size=(n, 5))
    probabilities = GENERATOR.dirichlet(np.ones(3), n)
    return embeddings, probabilities, [f"item-{number:04d}" for number in range(n)]


@pytest.mark.parametrize("strategy", ["uncertainty_herding", "max_herding"])
def test_the_query_is_that_of_the_definition(strategy: str) -> None:
    embeddings, probabilities, ids = given()
    labelled = list(range(0, 200, 10))
    found = xal.query(strategy, probabilities=probabilities, embeddings=embeddings, ids=ids, labelled=labelled, n=15)
    free = np.setdiff1d(np.arange(200), labelled)
    points, known = unit(embeddings[free]), unit(embeddings[labelled])
    if strategy == "max_herding":
        weights, h = np.ones(len(free)), 1.0
    else:
        top = np.sort(probabilities[free], axis=1)
        weights = 1 - (top[:, -1] - top[:, -2])
        distances = np.sqrt(((known[:, None].astype(float) - known[None]) ** 2).sum(axis=2))
        h = distances[np.triu_indices(len(known), 1)].min()
    assert found.positions.tolist() == free[plain(points, weights, known, 15, h)].tolist()


@pytest.mark.parametrize("kind", [UncertaintyHerding, MaxHerding])
def test_equal_vectors_are_chosen_once_while_others_are_left(kind) -> None:
    points = np.repeat(np.eye(4, dtype=np.float32), [50, 1, 1, 1], axis=0)
    found = cover(points, np.ones(53), np.empty((0, 4), np.float32), 6, 1.0)
    assert set(found[:4]) == {0, 50, 51, 52} and len(set(found)) == 6
    width = kind().width(np.repeat(np.eye(4, dtype=np.float32), 2, axis=0))
    assert width == pytest.approx(1.0 if kind is MaxHerding else np.sqrt(2))
    assert kind().width(np.ones((3, 4), np.float32) / 2) == 1.0  # all equal


@pytest.mark.parametrize("d", [8, 384, 2048])
def test_rounding_is_no_distance(d: int) -> None:
    """In float32, an item of length 1 can lie 1e-6 from itself; the width of the kernel is between different items."""
    points = unit(GENERATOR.normal(size=(300, d)) + 2)
    exact = points.astype(np.float64)
    differences = [np.linalg.norm(exact[row] - exact[row + 1 :], axis=1).min() for row in range(299)]
    assert UncertaintyHerding().width(points) == pytest.approx(min(differences), rel=1e-6)
    assert UncertaintyHerding().width(np.repeat(points[:1], 9, axis=0)) == 1.0


def test_near_duplicates_do_not_set_the_width() -> None:
    """Two photos of a burst are labelled: their distance is no scale, and float32 does not tell it well."""
    points = unit(GENERATOR.normal(size=(50, 64)))
    twice = unit(np.concatenate([points, points[:1] + 1e-5]))
    assert UncertaintyHerding().width(twice) == pytest.approx(UncertaintyHerding().width(points), rel=1e-5)


def test_copies_of_what_is_covered_come_last() -> None:
    """In float32 a copy lies about 1e-7 from itself; that is no gain."""
    three = unit(GENERATOR.normal(size=(4, 384)))
    points = np.repeat(three, [50, 1, 1, 1], axis=0)
    weights = np.r_[np.ones(50), np.zeros(3)]
    assert set(cover(points, weights, np.empty((0, 384), np.float32), 4, 1.0).tolist()) == {0, 50, 51, 52}


def test_nothing_to_gain() -> None:
    """Certain everywhere, or vectors of zeros: still distinct items, the least covered first."""
    points = unit(GENERATOR.normal(size=(30, 3)))
    found = cover(points, np.zeros(30), points[:29], 3, 0.1)
    assert found[0] == 29 and len(set(found.tolist())) == 3
    assert sorted(cover(np.zeros((4, 3), np.float32), np.ones(4), np.empty((0, 3), np.float32), 9, 1.0)) == [0, 1, 2, 3]


def test_for_how_many_items_each_stands() -> None:
    corners = unit(np.repeat(np.eye(3), [50, 20, 10], axis=0) + 0.01 * GENERATOR.normal(size=(80, 3)))
    labelled = corners[79:]
    order = cover(corners[:79], np.ones(79), labelled, 2, 1.0)
    assert sorted(followers(corners[:79], corners[order], labelled).tolist()) == [20, 50]
    found = xal.query("max_herding", embeddings=corners, labelled=[79], n=2)
    assert found.notes[0].startswith("nearest to 50 of 79 items; nearest labelled item: ")
