"""Density weighted sampling, the baseline of ALEX: query the items that differ most from all labelled items.

A random sample of the pool is clustered by k-means (Faiss) in the model's embeddings. An item is described by the
vector of its distances to the c cluster centres. Its score is the Euclidean distance between its vector and that of the
nearest labelled item.

A. Fujii et al., "Selective sampling for example-based word sense disambiguation", 1998; the ALEX paper, section 3,
which only says that distances to the centroids measure the similarity to labelled items.
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
    """Cluster centres, and the distances of the labelled items to them."""

    centres: Floats  # (c, d)
    labelled: Floats  # (s, c)


@dataclass(frozen=True, kw_only=True)
class DensityWeighted(Strategy, name="density_weighted"):
    """Query the items least similar to the labelled ones, by distances to cluster centres."""

    motive: ClassVar[str] = "it is unlike the labelled items"

    needs: ClassVar[frozenset[str]] = frozenset({"embeddings"})
    prepare_needs: ClassVar[frozenset[str]] = frozenset({"embeddings"})
    learns_from_labelled: ClassVar[bool] = True

    clusters: Annotated[int, Field(ge=1)] = 10
    """Number of cluster centres (c)."""
    sample: Annotated[int, Field(ge=1)] = 4096
    """Pool items drawn for clustering; Faiss uses at most 256 of them per cluster."""

    def n_sample(self, budget: int) -> int:
        """The field `sample`."""
        return self.sample

    def prepare(self, labelled: Labelled | None, sample: Evidence | None, summary: Summary | None) -> Described:
        """The centres of the sample, and the distances of the labelled items to them."""
        faiss = require("faiss", "faiss", "strategy 'density_weighted'")
        from threadpoolctl import threadpool_limits

        if sample is None or labelled is None:
            raise XalError(
                "density_weighted needs a labelled and an unlabelled item, but one of them is missing; label some"
            )
        points = np.ascontiguousarray(embeddings_of(sample), np.float32)
        c = min(self.clusters, len(points))
        with threadpool_limits(1):  # another order of summation would give other centres
            kmeans = faiss.Kmeans(points.shape[1], c, niter=25, seed=0, min_points_per_centroid=1, verbose=False)
            kmeans.train(points)
        centres = np.asarray(kmeans.centroids, np.float64)
        return Described(centres, _distances(embeddings_of(labelled.evidence), centres))

    def score(self, evidence: Evidence, state: Described, rng: HashRng) -> Scores:
        """(b,) distance to the nearest labelled item, between vectors of distances to the centres."""
        return np.asarray(_distances(_distances(embeddings_of(evidence), state.centres), state.labelled).min(axis=1))


def _distances(points: npt.NDArray[np.floating[Any]], centres: Floats) -> Floats:
    """(b, c) Euclidean distances."""
    points = np.asarray(points, np.float64)
    squares = np.einsum("bd,bd->b", points, points)[:, None] + np.einsum("cd,cd->c", centres, centres)
    return np.asarray(np.sqrt(np.maximum(squares - 2 * np.einsum("bd,cd->bc", points, centres), 0)))
