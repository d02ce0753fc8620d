"""Density weighted sampling as ALEX's baseline: query what is least like the labelled items, seen from cluster centres.

The pool is clustered into c groups (k-means by Faiss, on a random sample of it, in the model's embeddings). An item
is described by its distances to the c centres; it scores its distance, in that description, from the nearest labelled
item.

A. Fujii et al., "Selective sampling for example-based word sense disambiguation", 1998; the ALEX paper, section 3,
which says no more than that distances to the centroids tell how like the labelled items an item is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from xal.core.extras import require
from xal.core.rng import HashRng
from xal.errors import XalError
from xal.strategies.strategy import Scores, Strategy, Summary, embeddings_of
from xal.types import Evidence, Labelled

Floats = npt.NDArray[np.float64]


class Described(NamedTuple):
    """Centres, and the labelled items' distances to them."""

    centres: Floats  # (c, d)
    labelled: Floats  # (s, c)


@dataclass(frozen=True, kw_only=True)
class DensityWeighted(Strategy, name="density_weighted"):
    """Query items least like the labelled ones by their distances to cluster centres."""

    needs: ClassVar[frozenset[str]] = frozenset({"embeddings"})
    prepare_needs: ClassVar[frozenset[str]] = frozenset({"embeddings"})
    learns_from_labelled: ClassVar[bool] = True

    clusters: Annotated[int, Field(ge=1)] = 10
    """c."""
    sample: Annotated[int, Field(ge=1)] = 4096
    """Pool items that are clustered; Faiss takes 256 a cluster of them."""

    def n_sample(self, budget: int) -> int:
        """`sample`."""
        return self.sample

    def prepare(self, labelled: Labelled | None, sample: Evidence | None, summary: Summary | None) -> Described:
        """Centres of the sample, and the labelled items seen from them."""
        faiss = require("faiss", "faiss", "strategy 'density_weighted'")
        from threadpoolctl import threadpool_limits

        if sample is None or labelled is None:
            raise XalError("density_weighted: no item of the pool, or no labelled item, is left to describe")
        points = np.ascontiguousarray(embeddings_of(sample), np.float32)
        c = min(self.clusters, len(points))
        with threadpool_limits(1):  # sums in another order would be other centres
            kmeans = faiss.Kmeans(points.shape[1], c, niter=25, seed=0, min_points_per_centroid=1, verbose=False)
            kmeans.train(points)
        centres = np.asarray(kmeans.centroids, np.float64)
        return Described(centres, _distances(embeddings_of(labelled.evidence), centres))

    def score(self, evidence: Evidence, state: Described, rng: HashRng) -> Scores:
        """(b,) distance from the nearest labelled item."""
        return np.asarray(_distances(_distances(embeddings_of(evidence), state.centres), state.labelled).min(axis=1))


def _distances(points: npt.NDArray[np.floating[Any]], centres: Floats) -> Floats:
    """(b, c) Euclidean."""
    points = np.asarray(points, np.float64)
    squares = np.einsum("bd,bd->b", points, points)[:, None] + np.einsum("cd,cd->c", centres, centres)
    return np.asarray(np.sqrt(np.maximum(squares - 2 * np.einsum("bd,cd->bc", points, centres), 0)))
