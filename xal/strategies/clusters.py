"""k-means, the same on every machine that computes alike."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from xal.strategies.joint import Vectors, first_of_equals, nearest
from xal.types import Rows

EXACT = 64  # clusters up to which k-means begins with k-means++ on all points, and runs to its end
STEPS = 5  # steps with more clusters
SEEDING = 10  # points a cluster among which k-means++ looks for their first centres


def k_means(
    points: Vectors, k: int, weights: npt.NDArray[np.floating] | None = None, seed: int = 0
) -> tuple[Vectors, Rows]:
    """((k, d) centres, (n,) cluster of each point) of points (n, d); k is at most n.

    weights: (n,) of the points. Equal points can leave clusters empty. With more than 64 clusters, k-means++ begins on
    a sample and five steps are made.
    """
    import warnings

    from sklearn.cluster import KMeans, kmeans_plusplus  # imported here because the import takes two seconds
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    k = min(k, len(points))
    with threadpool_limits(1), warnings.catch_warnings():  # another order of summation would give other centres
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters
        fitted = KMeans(k, n_init=1, random_state=seed)
        if k > EXACT:
            drawn = np.random.default_rng(seed).permutation(len(points))[: SEEDING * k]
            first, _ = kmeans_plusplus(points[np.sort(drawn)], k, random_state=seed)
            fitted = KMeans(k, init=first, n_init=1, max_iter=STEPS, random_state=seed)
        fitted.fit(points, sample_weight=weights)
    return fitted.cluster_centers_.astype(np.float32), fitted.labels_.astype(np.int64)


def nearest_distinct(centres: Vectors, points: Vectors) -> Rows:
    """(k,) position of the point nearest to each centre, each at most once, and equal points only after all others."""
    taken = np.zeros(len(points), bool)
    again = np.ones(len(points), bool)
    again[first_of_equals(points)] = False
    chosen: list[int] = []
    for centre in centres:
        distances = nearest(points, centre[None])[1]
        left = ~taken & ~again if (~taken & ~again).any() else ~taken
        chosen.append(int(np.where(left, distances, np.inf).argmin()))
        taken[chosen[-1]] = True
    return np.array(chosen, np.int64)
