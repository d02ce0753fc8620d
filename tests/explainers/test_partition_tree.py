"""How players are grouped."""

import numpy as np

from xal.explainers.partition_tree import grid


def test_a_grid_is_cut_into_runs() -> None:
    tree, order = grid(3, 5)
    assert sorted(order) == list(range(15)) and (tree.left < 0).sum() == 15
    inner = np.flatnonzero(tree.left >= 0)
    np.testing.assert_array_equal(tree.high[tree.left[inner]], tree.low[tree.right[inner]])
