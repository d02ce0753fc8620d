"""What a pool's payload column is to a network: pixels, numbers, or texts; what cannot be used is reported."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from xal.data.images import decode
from xal.data.pool import Pool, as_matrix
from xal.errors import DataError
from xal.types import Form, Kind, Shape


def payload_of(column: Any, kind: Kind, shape: tuple[int, ...]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """((b, ...) payload, (b,) good) of a payload column: uint8 images of `shape`, float32 features, or texts (str).

    A row that is not good holds zeros, NaN or a blank text.
    """
    if kind == "features":
        vectors = as_matrix(column)
        if vectors.shape[1:] != shape:
            raise DataError(f"the model takes {shape[0]} features, the pool's items have {vectors.shape[1]}")
        return vectors, np.atleast_1d(np.isfinite(vectors).all(axis=1))
    values = column.to_pylist()
    if kind == "text":
        texts = np.empty(len(values), object)
        texts[:] = ["" if text is None else text for text in values]
        return texts, np.array([bool(text.strip()) for text in texts], bool)
    images, good = decode(values, shape)
    whole = np.zeros((len(good), *shape), np.uint8)
    whole[good] = images
    return whole, good


def forms_of(column: Any, kind: Kind, shape: Shape) -> list[Form]:
    """(b,) what the parts of each item of a payload column are found by; nothing is decoded."""
    return [text or "" for text in column.to_pylist()] if kind == "text" else [shape] * len(column)


def pool_shape(pool: Pool) -> tuple[int, ...]:
    """Of the pool's own items: (c, h, w) of the first image, (d,) of features, () of texts."""
    if pool.kind == "image":
        return pool.image_shape()
    if pool.kind == "text":
        return ()
    return (pool.width,)


def word_lists(column: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """((b + 1,) offsets, (m,) columns) of a pool's `words`; a row without a list has no words."""
    lists = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if lists.null_count:
        lists = pa.array([row or [] for row in lists.to_pylist()], pa.list_(pa.int32()))
    offsets = lists.offsets.to_numpy().astype(np.int64)
    flat = lists.values.to_numpy(zero_copy_only=False)[offsets[0] : offsets[-1]]
    return offsets - offsets[0], flat
