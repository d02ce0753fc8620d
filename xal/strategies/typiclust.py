"""TypiClust: query typical items of clusters that have no labels. For the first labels, above all with many classes.

Labelled and unlabelled items are clustered together, into as many clusters as there are labels and items to query, at
most 500. Clusters are visited by how few labels they have, then by size, and each gives its item of least mean distance
to its 20 nearest neighbours in it. Equal items count once. A cluster that is visited again gives the next of that
order.

G. Hacohen, A. Dekel, D. Weinshall, "Active learning on a budget: opposite strategies suit high and low budgets", ICML
2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from xal.strategies.clusters import k_means
from xal.strategies.joint import CELLS, JointStrategy, Known, Vectors, evidence_of, squared_distances
from xal.types import Rows, Scored


@dataclass(frozen=True, kw_only=True)
class TypiClust(JointStrategy, name="typiclust"):
    """Query the most typical items of the largest clusters without labels."""

    clusters: Annotated[int, Field(ge=1)] = 500
    """Maximum number of clusters."""
    neighbours: Annotated[int, Field(ge=1)] = 20
    """Nearest neighbours by which an item is typical."""
    min_size: Annotated[int, Field(ge=0)] = 5
    """Clusters of this many unlabelled items or fewer are only used if no others are left."""

    def choose(self, candidates: Scored, state: Known | None, budget: int) -> tuple[Rows, Sequence[str]]:
        """One item of each cluster in turn, with the size of the cluster and its number of labels."""
        points = self.vectors(evidence_of(candidates))
        known = np.empty((0, points.shape[1]), np.float32) if state is None else state.vectors
        k = min(len(known) + budget, self.clusters, len(points))
        _, assigned = k_means(np.concatenate([points, known]), k)
        sizes = np.bincount(assigned[: len(points)], minlength=k)
        labels = np.bincount(assigned[len(points) :], minlength=k)
        order = np.lexsort((np.arange(k), -sizes, labels))
        large, small = order[sizes[order] > self.min_size], order[sizes[order] <= self.min_size]
        ranked: dict[int, list[int]] = {}
        chosen: list[int] = []
        notes = []
        for visited in (large, small[sizes[small] > 0]):
            left = visited.tolist()
            while left and len(chosen) < budget:
                for cluster in left[: budget - len(chosen)]:
                    if cluster not in ranked:
                        inside = np.flatnonzero(assigned[: len(points)] == cluster)
                        ranked[cluster] = inside[by_typicality(points[inside], self.neighbours)].tolist()
                    chosen.append(ranked[cluster].pop(0))
                    notes.append(f"typical of {sizes[cluster]} alike items and {labels[cluster]} labelled ones")
                left = [cluster for cluster in left if cluster not in ranked or ranked[cluster]]
        return np.array(chosen, np.int64), notes


def by_typicality(points: Vectors, neighbours: int) -> Rows:
    """(n,) positions by mean distance to the nearest neighbours, the least first, the first of equals."""
    n = len(points)
    near = min(neighbours, n - 1)
    if near < 1:
        return np.arange(n)
    mean = np.empty(n)
    rows = max(1, CELLS // n)
    for start in range(0, n, rows):
        squares = squared_distances(points[start : start + rows], points)
        own = np.arange(len(squares))
        squares[own, start + own] = np.inf
        mean[start : start + rows] = np.sqrt(np.partition(squares, near - 1, axis=1)[:, :near]).mean(axis=1)
    return np.argsort(mean, kind="stable")
