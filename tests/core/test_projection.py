"""Sparse vectors of many columns are projected, always in the same way; others stay as they are."""

import numpy as np
import pytest
from scipy import sparse

from xal.core.projection import WIDTH, narrowed


def test_dense_vectors_stay() -> None:
    single = np.ones((3, 2000), np.float32)
    assert narrowed(single) is single
    assert narrowed(np.ones((3, 5), int)).dtype == np.float64


def test_narrow_sparse_vectors_become_dense() -> None:
    given = sparse.random_array((5, WIDTH), density=0.1, format="csr", rng=np.random.default_rng(0))
    np.testing.assert_array_equal(narrowed(given), given.toarray())


def test_wide_sparse_vectors_keep_their_distances() -> None:
    given = sparse.random_array((30, 20_000), density=0.01, format="csr", rng=np.random.default_rng(0))
    found = narrowed(given)
    assert found.shape == (30, WIDTH)
    np.testing.assert_array_equal(narrowed(given[:3]), found[:3])
    dense = given.toarray()
    ratio = np.linalg.norm(found[:1] - found[1:], axis=1) / np.linalg.norm(dense[:1] - dense[1:], axis=1)
    assert ratio == pytest.approx(1, abs=0.15)
