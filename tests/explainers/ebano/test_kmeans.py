"""Batched k-means against scikit-learn, and what the batch must not change."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor

from xal.errors import XalError
from xal.explainers.ebano.kmeans import assign, kmeans


def smooth(images: int, size: int = 28, r: int = 6, seed: int = 0) -> Tensor:
    """(b, p, r) unit vectors that vary smoothly over a grid, as hypercolumns do."""
    coarse = torch.randn(images, r, 5, 5, generator=torch.Generator().manual_seed(seed))
    maps = F.interpolate(coarse, size=(size, size), mode="bicubic").flatten(2).mT
    return F.normalize(maps, dim=-1).contiguous()


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_inertia_is_that_of_scikit_learn(k: int) -> None:
    points = smooth(12)
    got = kmeans(points, k)
    best = [KMeans(k, n_init=10, random_state=0).fit(image.numpy()).inertia_ for image in points]
    assert np.median(got.inertia.numpy() / best) <= 1.01
    assert (got.inertia.numpy() >= np.array(best) * (1 - 5e-2)).all()


def test_result_is_consistent() -> None:
    """Labels are the nearest centres, the inertia is theirs, and after convergence the centres are the means."""
    points = smooth(3)
    got = kmeans(points, 4, iterations=500)
    distances = torch.cdist(points.double(), got.centres.double()).square()
    assert torch.equal(distances.argmin(-1), got.labels)
    np.testing.assert_allclose(distances.min(-1).values.sum(-1), got.inertia, rtol=1e-4)
    for image in range(3):
        for cluster in range(4):
            mean = points[image][got.labels[image] == cluster].mean(0)
            torch.testing.assert_close(got.centres[image, cluster], mean, atol=1e-5, rtol=1e-5)
    assert torch.equal(assign(points, got.centres), got.labels)


@pytest.mark.parametrize("k", [2, 5])
def test_alone_or_in_a_batch(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    points = smooth(7)
    together = kmeans(points, k)
    alone = [kmeans(points[i : i + 1], k).labels for i in range(7)]
    assert torch.equal(together.labels, torch.cat(alone))
    assert torch.equal(together.labels.flip(0), kmeans(points.flip(0), k).labels)
    monkeypatch.setattr("xal.explainers.ebano.kmeans.WORKING_ELEMENTS", 1)
    assert torch.equal(together.labels, kmeans(points, k).labels)


def test_restarts_that_agree_give_the_same_labels() -> None:
    """Well separated clusters: any seed finds them, and numbers them by their first point."""
    corners, truth = torch.eye(4), torch.arange(80) % 4
    points = corners[truth] + torch.randn(3, 80, 4, generator=torch.Generator().manual_seed(0)) * 0.01
    for seed in range(5):
        got = kmeans(points, 4, seed=seed)
        assert torch.equal(got.labels, truth.expand(3, -1))
        torch.testing.assert_close(got.centres, corners.expand(3, -1, -1), atol=0.02, rtol=0)


def test_seed_decides_and_nothing_seeds_globally() -> None:
    points = torch.rand(4, 300, 5, generator=torch.Generator().manual_seed(3))  # no structure: many local minima
    state = torch.get_rng_state()
    first, again = (kmeans(points, 5, restarts=1, seed=1) for _ in range(2))
    assert torch.equal(first.labels, again.labels)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first.labels, kmeans(points, 5, restarts=1, seed=2).labels)


def test_more_iterations_and_restarts_do_not_hurt() -> None:
    points = torch.rand(4, 300, 5, generator=torch.Generator().manual_seed(3))
    once, long = (kmeans(points, 5, restarts=1, iterations=n).inertia for n in (1, 50))
    assert (long <= once + 1e-6).all() and (long < once - 1e-3).any()
    many = kmeans(points, 5, restarts=20, iterations=50).inertia
    assert many.sum() < long.sum()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_points_leave_clusters_empty(value: float) -> None:
    got = kmeans(torch.full((2, 50, 3), value), 3)
    assert all(len(labels.unique()) == 1 for labels in got.labels)
    assert not got.labels.any()
    torch.testing.assert_close(got.centres, torch.full((2, 3, 3), value))
    assert (got.inertia < 1e-4).all()


def test_more_clusters_than_points() -> None:
    got = kmeans(torch.eye(2)[None], 5)
    assert got.labels[0, 0] != got.labels[0, 1] and float(got.inertia) == pytest.approx(0, abs=1e-6)


def test_nonsense_is_refused() -> None:
    with pytest.raises(XalError, match="at least 1"):
        kmeans(smooth(1), 0)
