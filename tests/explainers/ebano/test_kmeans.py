"""Batched k-means against scikit-learn, and what the batch must not change."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor

from xal.errors import XalError
from xal.explainers.ebano.backends import cluster
from xal.explainers.ebano.kmeans import WORKING_ELEMENTS, assign, kmeans

KS = range(2, 6)


def smooth(images: int, size: int = 28, r: int = 6, seed: int = 0) -> Tensor:
    """(b, r, p) unit vectors that vary smoothly over a grid, as hypercolumns do."""
    coarse = torch.randn(images, r, 5, 5, generator=torch.Generator().manual_seed(seed))
    maps = F.interpolate(coarse, size=(size, size), mode="bicubic").flatten(2)
    return F.normalize(maps, dim=1).contiguous()


def scattered(images: int = 4) -> Tensor:
    """No structure: many local minima."""
    return torch.rand(images, 5, 300, generator=torch.Generator().manual_seed(3))


def labels_of(points: Tensor, k: int, **options: int) -> Tensor:
    return assign(points, kmeans(points, [k], **options)[0].centres)


def test_inertia_is_that_of_scikit_learn() -> None:
    points = smooth(12)
    for k, got in zip(KS, kmeans(points, KS), strict=True):
        best = [KMeans(k, n_init=10, random_state=0).fit(image.T.numpy()).inertia_ for image in points]
        assert np.median(got.inertia.numpy() / best) <= 1.01
        assert (got.inertia.numpy() >= np.array(best) * (1 - 5e-2)).all()


def test_result_is_consistent() -> None:
    """Labels are the nearest centres, the inertia is theirs, and after convergence the centres are the means."""
    points = smooth(3)
    got = kmeans(points, [4], iterations=500)[0]
    labels = assign(points, got.centres)
    distances = torch.cdist(points.mT.double(), got.centres.double()).square()
    assert torch.equal(distances.argmin(-1), labels)
    np.testing.assert_allclose(distances.min(-1).values.sum(-1), got.inertia, rtol=1e-4)
    for image in range(3):
        for number in range(4):
            mean = points[image][:, labels[image] == number].mean(1)
            torch.testing.assert_close(got.centres[image, number], mean, atol=1e-5, rtol=1e-5)


def test_alone_or_in_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    points = smooth(7)

    def labels(images: Tensor) -> Tensor:
        return torch.stack([assign(images, each.centres) for each in kmeans(images, KS)])

    together = labels(points)
    assert torch.equal(together, torch.cat([labels(points[i : i + 1]) for i in range(7)], 1))
    assert torch.equal(together.flip(1), labels(points.flip(0)))
    monkeypatch.setitem(WORKING_ELEMENTS, "cpu", 1)
    assert torch.equal(together, labels(points))


def test_restarts_that_agree_give_the_same_labels() -> None:
    """Well separated clusters: any seed finds them, and numbers them by their first point."""
    corners, relevance = torch.eye(4), torch.arange(80) % 4
    points = corners[relevance].T + torch.randn(3, 4, 80, generator=torch.Generator().manual_seed(0)) * 0.01
    for seed in range(5):
        got = kmeans(points, [4], seed=seed)[0]
        assert torch.equal(assign(points, got.centres), relevance.expand(3, -1))
        torch.testing.assert_close(got.centres, corners.expand(3, -1, -1), atol=0.02, rtol=0)


def test_seed_decides_and_nothing_seeds_globally() -> None:
    points = scattered()
    state = torch.get_rng_state()
    first, again = (labels_of(points, 5, restarts=1, seed=1) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first, labels_of(points, 5, restarts=1, seed=2))


def test_more_iterations_and_restarts_do_not_hurt() -> None:
    points = scattered()
    once, long = (kmeans(points, [5], restarts=1, iterations=n)[0].inertia for n in (1, 50))
    assert (long <= once + 1e-6).all() and (long < once - 1e-3).any()
    many = kmeans(points, [5], restarts=20, iterations=50)[0].inertia
    assert many.sum() < long.sum()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_points_leave_clusters_empty(value: float) -> None:
    points = torch.full((2, 3, 50), value)
    got = kmeans(points, [3])[0]
    assert all(len(labels.unique()) == 1 for labels in assign(points, got.centres))
    torch.testing.assert_close(got.centres, torch.full((2, 3, 3), value))
    assert (got.inertia < 1e-4).all()


def test_an_empty_cluster_keeps_its_centre_and_comes_last() -> None:
    """Two distinct points, three clusters: one has none."""
    points = torch.eye(2).repeat(1, 20)[None]
    got = kmeans(points, [3])[0]
    labels = assign(points, got.centres)
    assert labels[0, :2].tolist() == [0, 1] and len(labels.unique()) == 2
    assert got.centres.isfinite().all() and float(got.inertia) == pytest.approx(0, abs=1e-5)


def test_more_clusters_than_points() -> None:
    points = torch.eye(2)[None]
    got = kmeans(points, [5])[0]
    labels = assign(points, got.centres)
    assert labels[0, 0] != labels[0, 1] and float(got.inertia) == pytest.approx(0, abs=1e-6)


def test_nonsense_is_refused() -> None:
    for options in ({"restarts": 0}, {"iterations": 0}):
        with pytest.raises(XalError, match="at least 1"):
            kmeans(smooth(1), [2], **options)
    for ks in ([], [0]):
        with pytest.raises(XalError, match="at least 1"):
            kmeans(smooth(1), ks)


@pytest.mark.parametrize("backend", ["faiss", "sklearn"])
def test_outside_back_ends_find_the_same_minimum(backend: str) -> None:
    points = smooth(3)
    ours = kmeans(points, KS)
    theirs = cluster(points, KS, backend, 10, 100, 0)  # type: ignore[arg-type]
    for k, one, other in zip(KS, ours, theirs, strict=True):
        assert other.centres.shape == (3, k, 6) and other.centres.dtype == torch.float32
        np.testing.assert_allclose(other.inertia, one.inertia, rtol=0.03)
