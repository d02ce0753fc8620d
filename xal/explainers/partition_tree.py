"""Binary trees over players for Owen values. The players of every node are consecutive numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

Nodes = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Tree:
    """Nodes as arrays, the root first and parents before their children; a leaf has no children (-1)."""

    left: Nodes
    right: Nodes
    low: Nodes  # first player of each node
    high: Nodes  # one after the last player of each node
    evaluations: int
    """Number of coalitions that exact Owen values need, besides the empty one and the one of all players."""

    @cached_property
    def spans(self) -> npt.NDArray[np.bool_]:
        """(nodes, m) mask of the players of each node, for trees of few players: it grows with their square."""
        players = np.arange(self.high[0])
        return (players >= self.low[:, None]) & (players < self.high[:, None])

    @cached_property
    def weights(self) -> npt.NDArray[np.float64]:
        """(nodes,) weight of a node's marginal value in one of its contexts: half its parent's weight."""
        weights = np.ones(len(self.low))
        for node, (left, right) in enumerate(zip(self.left, self.right, strict=True)):  # parents come first
            if left >= 0:
                weights[[left, right]] = weights[node] / 2
        return weights

    @cached_property
    def exact(self) -> tuple[npt.NDArray[np.bool_], Any]:
        """The coalitions (e + 1, m) that exact Owen values need, the empty one first, and a sparse matrix (m, e + 2).

        The matrix times the values of these coalitions, followed by the value of all players, gives the Owen values.
        """
        context: Any = np.zeros((1, self.high[0]), bool)
        node: Any = np.zeros(1, np.int64)
        without: Any = np.zeros(1, np.int64)
        with_it: Any = np.array([self.evaluations + 1])
        weight: Any = np.ones(1)
        coalitions, entries, n_coalitions = [context], [], 1
        while len(node):
            leaf = self.left[node] < 0
            players = self.low[node[leaf]]
            entries += [(players, with_it[leaf], weight[leaf]), (players, without[leaf], -weight[leaf])]
            node, context, without, with_it, weight = (
                array[~leaf] for array in (node, context, without, with_it, weight)
            )
            left, right = self.left[node], self.right[node]
            with_left, with_right = context | self.spans[left], context | self.spans[right]
            one = n_coalitions + np.arange(len(node))
            other = one + len(node)
            n_coalitions += 2 * len(node)
            coalitions += [with_left, with_right]
            node, context = np.concatenate([left, right] * 2), np.concatenate([context, context, with_right, with_left])
            without, with_it, weight = (
                np.concatenate([without, without, other, one]),
                np.concatenate([one, other, with_it, with_it]),
                np.concatenate([weight / 2] * 4),
            )
        rows, columns, weights = (np.concatenate(arrays) for arrays in zip(*entries, strict=True))
        exists = rows < self.high[0]  # a tree without players has a root, but no leaf
        shape = (int(self.high[0]), self.evaluations + 2)
        return np.concatenate(coalitions), sparse.csr_array(
            (weights[exists], (rows[exists], columns[exists])), shape=shape
        )


def _build(size: int, split: Callable[[int, int], int]) -> Tree:
    """Split `size` players recursively down to one; split(low, high) -> the first player of the right child."""
    low, high, left, right, depth = [0], [size], [-1], [-1], [0]
    evaluations = 0
    node = 0
    while node < len(low):
        if high[node] - low[node] > 1:
            middle = split(low[node], high[node])
            left[node], right[node] = len(low), len(low) + 1
            low += [low[node], middle]
            high += [middle, high[node]]
            left += [-1, -1]
            right += [-1, -1]
            depth += [depth[node] + 1] * 2
            evaluations += 2 * 2 ** depth[node]
        node += 1
    return Tree(np.array(left), np.array(right), np.array(low), np.array(high), evaluations)


@lru_cache(maxsize=4096)
def balanced(size: int) -> Tree:
    """A tree that halves the players recursively; the left half is the larger."""
    return _build(size, lambda low, high: (low + high + 1) // 2)


@lru_cache(maxsize=64)
def grid(rows: int, columns: int) -> tuple[Tree, Nodes]:
    """A tree that halves a grid along its longer side recursively, and (rows x columns,) the patch of each player."""
    order: list[int] = []
    splits: dict[tuple[int, int], int] = {}

    def halve(top: int, bottom: int, start: int, end: int) -> None:
        height, width = bottom - top, end - start
        first = len(order)
        if height * width == 1:
            order.append(top * columns + start)
            return
        if height >= width:
            middle = (top + bottom + 1) // 2
            halve(top, middle, start, end)
            split = len(order)
            halve(middle, bottom, start, end)
        else:
            middle = (start + end + 1) // 2
            halve(top, bottom, start, middle)
            split = len(order)
            halve(top, bottom, middle, end)
        splits[first, len(order)] = split

    halve(0, rows, 0, columns)
    return _build(rows * columns, lambda low, high: splits[low, high]), np.array(order, np.int64)


def linked(clustering: npt.NDArray[np.float64]) -> Tree:
    """Convert a linkage matrix (m - 1, 4) of SciPy or shap to a tree.

    Raises ValueError unless the players of every cluster are consecutive.
    """
    m = len(clustering) + 1
    spans = [(i, i + 1) for i in range(m)]
    splits: dict[tuple[int, int], int] = {}
    for a, b in clustering[:, :2].astype(int):
        one, other = sorted((spans[a], spans[b]))
        if one[1] != other[0]:
            raise ValueError("expected clusters of consecutive players, got a linkage with another cluster")
        spans.append((one[0], other[1]))
        splits[spans[-1]] = other[0]
    return _build(m, lambda low, high: splits[low, high])
