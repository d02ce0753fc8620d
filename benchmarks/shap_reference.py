"""shap's PartitionExplainer on trees and maskers of ours; tests and benchmarks compare with it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import shap

from xal.explainers.partition_tree import Tree


def linkage(tree: Tree) -> np.ndarray:
    """(m - 1, 4) as SciPy and shap write a tree."""
    m = int(tree.high[0])
    number = {int(node): int(tree.low[node]) for node in np.flatnonzero(tree.left < 0)}
    rows = []
    for node in np.flatnonzero(tree.left >= 0)[::-1]:  # children come after their parents
        number[int(node)] = m + len(rows)
        size = float(tree.high[node] - tree.low[node])
        rows.append([number[int(tree.left[node])], number[int(tree.right[node])], 1.0, size])
    return np.array(rows, float).reshape(-1, 4)


class Masker(shap.maskers.Masker):  # type: ignore[misc]
    """What is left of one item when only some players are kept."""

    def __init__(self, tree: Tree, left: Callable[[np.ndarray], Any]) -> None:
        self.clustering, self.size, self.left = linkage(tree), int(tree.high[0]), left

    def shape(self, x: np.ndarray) -> tuple[int, int]:
        """As shap asks."""
        return (1, self.size)

    def mask_shapes(self, x: np.ndarray) -> list[tuple[int]]:
        """As shap asks."""
        return [(self.size,)]

    def __call__(self, mask: np.ndarray, x: np.ndarray) -> tuple[Any]:
        """One item of input for the model."""
        return (self.left(np.broadcast_to(mask, self.size)),)


def text_masker(tree: Tree, words: Sequence[str]) -> Masker:
    """Words left out."""
    return Masker(tree, lambda mask: np.array([" ".join(w for w, k in zip(words, mask, strict=True) if k)], object))


def image_masker(tree: Tree, image: np.ndarray, absent: np.ndarray, segments: np.ndarray) -> Masker:
    """Patches replaced."""
    return Masker(tree, lambda mask: np.where(mask[segments], image, absent)[None])


def owen(ask: Callable[[Any], np.ndarray], masker: Masker, of: int, max_evals: int, batch_size: int) -> np.ndarray:
    """(m,) shap's values for class `of`; ask(what the masker left of n coalitions) -> (n, c)."""
    explainer = shap.explainers.Partition(ask, masker)
    x = np.zeros((1, masker.size))
    found = explainer(x, max_evals=max_evals, batch_size=batch_size, outputs=[of], silent=True)
    return np.asarray(found.values, np.float64).reshape(-1)
