"""shap's PartitionExplainer with our trees and maskers, as the reference of tests and benchmarks."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import shap

from xal.explainers.partition_tree import Tree


def linkage(tree: Tree) -> np.ndarray:
    """Convert a tree to a linkage matrix (m - 1, 4) of SciPy and shap."""
    m = int(tree.high[0])
    number = {int(node): int(tree.low[node]) for node in np.flatnonzero(tree.left < 0)}
    rows: list[list[float]] = []
    for node in np.flatnonzero(tree.left >= 0)[::-1]:  # children come after their parents
        number[int(node)] = m + len(rows)
        size = float(tree.high[node] - tree.low[node])
        rows.append([number[int(tree.left[node])], number[int(tree.right[node])], 1.0, size])
    return np.array(rows, float).reshape(-1, 4)


class Masker(shap.maskers.Masker):  # type: ignore[misc]
    """Masks one item: `left` maps a mask of players to the masked item."""

    def __init__(self, tree: Tree, left: Callable[[np.ndarray], Any]) -> None:
        self.clustering, self.size, self.left = linkage(tree), int(tree.high[0]), left

    def shape(self, x: np.ndarray) -> tuple[int, int]:
        """The shape that shap expects."""
        return (1, self.size)

    def mask_shapes(self, x: np.ndarray) -> list[tuple[int]]:
        """The shape that shap expects."""
        return [(self.size,)]

    def __call__(self, mask: np.ndarray, x: np.ndarray) -> tuple[Any]:
        """The masked item as a batch of one."""
        return (self.left(np.broadcast_to(mask, self.size)),)


def text_masker(tree: Tree, words: Sequence[str]) -> Masker:
    """A masker that leaves words out."""
    return Masker(tree, lambda mask: np.array([" ".join(w for w, k in zip(words, mask, strict=True) if k)], object))


def image_masker(tree: Tree, image: np.ndarray, mask_value: np.ndarray, segments: np.ndarray) -> Masker:
    """A masker that replaces patches with `mask_value`."""
    return Masker(tree, lambda mask: np.where(mask[segments], image, mask_value)[None])


def owen(
    predict: Callable[[Any], np.ndarray], masker: Masker, target: int, max_evals: int, batch_size: int
) -> np.ndarray:
    """(m,) shap's values for class `target`; predict: n masked items -> (n, c) outputs."""
    explainer = shap.explainers.Partition(predict, masker)
    x = np.zeros((1, masker.size))
    explanation = explainer(x, max_evals=max_evals, batch_size=batch_size, outputs=[target], silent=True)
    return np.asarray(explanation.values, np.float64).reshape(-1)
