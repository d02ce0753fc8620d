"""Which k-means clusters an image's pixels: ours on the model's device, or an outside library's on the CPU.

Faiss is what the thesis runs (section 3.2: 100 iterations, one run), scikit-learn what EBAnO-Express runs (10 restarts,
300 iterations). Both take one image and one k at a time.
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
    """`kmeans` by the back end asked for; ResourceError where its package is not installed."""
    if backend == "torch":
        return kmeans(points, ks, restarts=restarts, iterations=iterations, seed=seed)
    fit = (_faiss if backend == "faiss" else _sklearn)(restarts, iterations, seed)
    images = points.mT.float().cpu().contiguous().numpy()
    found = []
    for k in ks:
        fitted = [fit(image, k) for image in images]
        centres = torch.from_numpy(np.stack([np.asarray(centres, np.float32) for centres, _ in fitted]))
        inertia = torch.tensor([inertia for _, inertia in fitted], dtype=torch.float64)
        found.append(Clustering(centres.to(points.device), inertia.to(points.device)))
    return found


def _faiss(restarts: int, iterations: int, seed: int) -> Fit:
    """On GPUs where faiss is its GPU build and sees one."""
    faiss = require("faiss", "faiss", "explainer.backend: faiss")
    gpu = getattr(faiss, "get_num_gpus", lambda: 0)() > 0

    def fit(points: Floats, k: int) -> tuple[Any, float]:
        trained = faiss.Kmeans(
            points.shape[1],
            k,
            niter=iterations,
            nredo=restarts,
            seed=seed + 1,  # 0 would mean the default seed
            gpu=gpu,
            min_points_per_centroid=1,
            max_points_per_centroid=len(points),  # else it would cluster a sample
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
