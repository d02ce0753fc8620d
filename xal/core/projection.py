"""A random projection of wide sparse vectors, always the same, that preserves distances to within a few percent.

P. Li, T. Hastie, K. Church, "Very sparse random projections", KDD 2006.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

WIDTH = 1024
"""Columns that are left, at most."""


def narrowed(vectors: Any) -> npt.NDArray[np.floating[Any]]:
    """(b, d) array of dense vectors as they are; sparse ones of more than 1,024 columns are projected to so many."""
    if isinstance(vectors, np.ndarray):
        return vectors if vectors.dtype == np.float32 else np.asarray(vectors, np.float64)
    narrow = vectors if vectors.shape[1] <= WIDTH else vectors @ _projection(vectors.shape[1])
    return np.asarray(narrow.toarray(), np.float64)


@lru_cache(maxsize=2)
def _projection(columns: int) -> Any:
    """(columns, WIDTH) sparse random matrix."""
    from sklearn.random_projection import SparseRandomProjection

    fitted = SparseRandomProjection(WIDTH, random_state=0).fit(sparse.csr_array((1, columns)))
    return sparse.csr_array(fitted.components_.T)
