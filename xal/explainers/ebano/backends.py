"""K-means implementations that cluster an image's pixels: ours on the model's device, or Faiss or scikit-learn.

The thesis uses Faiss (section 3.2: 100 iterations, one run), EBAnO-Express scikit-learn (10 restarts, 300 iterations).
Both cluster one image with one k at a time; scikit-learn runs on the CPU, Faiss on GPUs too if its build supports them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xal.core._typing import Float
from xal.core.extras import require
from xal.explainers.ebano.kmeans import Clustering, kmeans

Backend = Literal["torch", "faiss", "sklearn"]
Floats = npt.NDArray[np.float32]
Fit = Callable[[Floats, int], tuple[Any, float]]  # points (p, r), k -> centres (k, r), inertia


def cluster(
    points: Float[Tensor, "b r p"], ks: Sequence[int], backend: Backend, restarts: int, iterations: int, seed: int
) -> list[Clustering]:
    """`kmeans` by the given backend; one Clustering per k. Raises ResourceError if its package is not installed."""
    if backend == "torch":
        return kmeans(points, ks, restarts=restarts, iterations=iterations, seed=seed)
    fit = (_faiss if backend == "faiss" else _sklearn)(restarts, iterations, seed)
    images = points.mT.float().cpu().contiguous().numpy()
    clusterings = []
    for k in ks:
        fitted = [fit(image, k) for image in images]
        centres = torch.from_numpy(np.stack([np.asarray(centres_of_one, np.float32) for centres_of_one, _ in fitted]))
        inertia = torch.tensor([inertia for _, inertia in fitted], dtype=torch.float64)
        clusterings.append(Clustering(centres.to(points.device), inertia.to(points.device)))
    return clusterings


def _faiss(restarts: int, iterations: int, seed: int) -> Fit:
    """Faiss's k-means; on GPUs if faiss is its GPU build and finds any."""
    faiss = require("faiss", "faiss", "explainer.backend: faiss")
    gpu = getattr(faiss, "get_num_gpus", lambda: 0)() > 0

    def fit(points: Floats, k: int) -> tuple[Any, float]:
        trained = faiss.Kmeans(
            points.shape[1],
            k,
            niter=iterations,
            nredo=restarts,
            seed=seed + 1,  # faiss replaces 0 with its default seed
            gpu=gpu,
            min_points_per_centroid=1,
            max_points_per_centroid=len(points),  # otherwise faiss clusters a sample
        )
        trained.train(points)
        objective: Any = trained.obj
        return trained.centroids, float(objective[-1])

    return fit


def _sklearn(restarts: int, iterations: int, seed: int) -> Fit:
    KMeans = require("sklearn.cluster", "sklearn", "explainer.backend: sklearn").KMeans

    def fit(points: Floats, k: int) -> tuple[Any, float]:
        model = KMeans(k, n_init=restarts, max_iter=iterations, random_state=seed).fit(points)
        return model.cluster_centers_, float(model.inertia_)

    return fit
