"""Greedy coverage: choose the items that, together with those labelled already, resemble the rest of the pool most.

The objective is sum_x u(x) max_c k(x, c) over the labelled and chosen items c, with k(x, c) = exp(-|x - c|^2 / h^2) of
vectors of length 1. It is monotone and submodular, so an item's gain never grows, and lazy greedy (Minoux 1978) chooses
exactly what greedy would.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from xal.strategies.joint import CELLS, Vectors, nearest, squared_distances
from xal.types import Rows

BLOCK = 1024  # candidates whose gains are computed together at first
LAZY = 32  # and in a lazy step


def similarity(one: Vectors, other: Vectors, h: float) -> Vectors:
    """(n, m) exp(-|x - y|^2 / h^2) of vectors (n, d) and (m, d)."""
    distances = squared_distances(one, other)
    distances *= -1 / h**2
    return np.asarray(np.exp(distances, out=distances))


def most_similar(points: Vectors, to: Vectors, h: float) -> Vectors:
    """(n,) largest similarity of each point to one of `to` (m, d); 0 if there are none."""
    found = np.zeros(len(points), np.float32)
    rows = max(1, CELLS // max(len(to), 1))
    for start in range(0, len(points) if len(to) else 0, rows):
        found[start : start + rows] = similarity(points[start : start + rows], to, h).max(axis=1)
    return found


def cover(points: Vectors, weights: npt.NDArray[np.floating], labelled: Vectors, budget: int, h: float) -> Rows:
    """Positions of at most `budget` points, in the order in which greedy chooses them; the first of equals.

    points: (n, d) candidates, which are also the items to resemble. weights: (n,) u, at least 0. labelled: (m, d).
    Where no point gains anything any more, the least covered one follows, so that equal points come last.
    """
    n, budget = len(points), min(budget, len(points))
    covered = most_similar(points, labelled, h)
    weights = np.asarray(weights, np.float64)
    nothing = 1e-6 * float(weights.sum())  # what rounding in float32 can gain

    def gains(candidates: Rows) -> npt.NDArray[np.float64]:
        total = np.zeros(len(candidates))
        rows = max(1, CELLS // len(candidates))
        for start in range(0, n, rows):
            part = slice(start, start + rows)
            more = similarity(points[part], points[candidates], h)
            more -= covered[part, None]
            np.maximum(more, 0, out=more)
            total += weights[part] @ more
        return total

    bounds, taken = np.empty(n), np.zeros(n, bool)
    for start in range(0, n, BLOCK):
        bounds[start : start + BLOCK] = gains(np.arange(start, min(start + BLOCK, n)))
    chosen: list[int] = []
    for _ in range(budget):
        fresh = taken.copy()
        while True:
            best = int(bounds.argmax())  # the first of equals
            if fresh[best]:
                break
            stale = np.flatnonzero(~fresh)
            stale = stale[np.argsort(-bounds[stale], kind="stable")[:LAZY]]
            bounds[stale] = gains(stale)
            fresh[stale] = True
        if bounds[best] <= nothing:
            left = np.flatnonzero(~taken)
            best = int(left[covered[left].argmin()])
        chosen.append(best)
        bounds[best], taken[best] = -1.0, True
        np.maximum(covered, similarity(points, points[[best]], h)[:, 0], out=covered)
    return np.array(chosen, np.int64)


def followers(points: Vectors, chosen: Vectors, labelled: Vectors) -> Rows:
    """(q,) number of points that lie nearer to this chosen item than to any other or to a labelled one."""
    mine, distance = nearest(points, chosen)
    _, known = nearest(points, labelled)
    return np.bincount(mine[distance < known], minlength=len(chosen)).astype(np.int64)
