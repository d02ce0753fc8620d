"""Binary trees over players for Owen values. Every node holds a run of players, so a coalition of a node is a range."""

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
    """Nodes from the root, number 0; a leaf has no children (-1)."""

    left: Nodes
    right: Nodes
    low: Nodes  # first player of each node
    high: Nodes  # one after its last
    evaluations: int
    """Coalitions that all Owen values need, besides none and all of the players."""

    @cached_property
    def spans(self) -> npt.NDArray[np.bool_]:
        """(nodes, m) the players of each node."""
        players = np.arange(self.high[0])
        return (players >= self.low[:, None]) & (players < self.high[:, None])

    @cached_property
    def weights(self) -> npt.NDArray[np.float64]:
        """(nodes,) of what each node is worth in one of its contexts: half its parent's."""
        weights = np.ones(len(self.low))
        for node, (left, right) in enumerate(zip(self.left, self.right, strict=True)):  # parents come first
            if left >= 0:
                weights[[left, right]] = weights[node] / 2
        return weights

    @cached_property
    def opened(self) -> tuple[npt.NDArray[np.bool_], Any]:
        """((e + 1, m) none, and the coalitions asked for when every node is opened, (m, e + 2) how values follow).

        The second, sparse, times the worths of those coalitions and, last, of all players, gives the Owen values.
        """
        context: Any = np.zeros((1, self.high[0]), bool)
        node: Any = np.zeros(1, np.int64)
        without: Any = np.zeros(1, np.int64)
        with_it: Any = np.array([self.evaluations + 1])
        weight: Any = np.ones(1)
        coalitions, entries, asked = [context], [], 1
        while len(node):
            leaf = self.left[node] < 0
            players = self.low[node[leaf]]
            entries += [(players, with_it[leaf], weight[leaf]), (players, without[leaf], -weight[leaf])]
            node, context, without, with_it, weight = (
                part[~leaf] for part in (node, context, without, with_it, weight)
            )
            left, right = self.left[node], self.right[node]
            with_left, with_right = context | self.spans[left], context | self.spans[right]
            one = asked + np.arange(len(node))
            other = one + len(node)
            asked += 2 * len(node)
            coalitions += [with_left, with_right]
            node, context = np.concatenate([left, right] * 2), np.concatenate([context, context, with_right, with_left])
            without, with_it, weight = (
                np.concatenate([without, without, other, one]),
                np.concatenate([one, other, with_it, with_it]),
                np.concatenate([weight / 2] * 4),
            )
        rows, columns, weights = (np.concatenate(parts) for parts in zip(*entries, strict=True))
        kept = rows < self.high[0]  # the root of no players is a leaf of none
        shape = (int(self.high[0]), self.evaluations + 2)
        return np.concatenate(coalitions), sparse.csr_array((weights[kept], (rows[kept], columns[kept])), shape=shape)


def _built(size: int, split: Callable[[int, int], int]) -> Tree:
    """By splitting runs from `size` players down to one; split(low, high) -> where the right child begins."""
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
    """Halves of halves; the left one is the larger."""
    return _built(size, lambda low, high: (low + high + 1) // 2)


@lru_cache(maxsize=64)
def grid(rows: int, columns: int) -> tuple[Tree, Nodes]:
    """(tree, (rows x columns,) the patch of each player) of a grid halved along its longer side, and so on."""
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
    return _built(rows * columns, lambda low, high: splits[low, high]), np.array(order, np.int64)


def linked(clustering: npt.NDArray[np.float64]) -> Tree:
    """A tree from a linkage matrix (m - 1, 4) as SciPy's and shap's, whose clusters must be runs of players.

    Raises ValueError where one is not.
    """
    m = len(clustering) + 1
    spans = [(i, i + 1) for i in range(m)]
    splits: dict[tuple[int, int], int] = {}
    for a, b in clustering[:, :2].astype(int):
        one, other = sorted((spans[a], spans[b]))
        if one[1] != other[0]:
            raise ValueError("a cluster of the linkage is no run of players")
        spans.append((one[0], other[1]))
        splits[spans[-1]] = other[0]
    return _built(m, lambda low, high: splits[low, high])
