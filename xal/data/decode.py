"""Decode a pool's payload column to pixels, numbers or texts, and report which rows cannot be used."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from xal.core.hashed_words import COLUMNS
from xal.data.images import decode
from xal.data.pool import Pool, as_matrix
from xal.errors import DataError
from xal.types import Form, Kind, Shape


def payload_of(column: Any, kind: Kind, shape: tuple[int, ...]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """((b, ...) payload, (b,) good) of a payload column: uint8 images of `shape`, float32 features, or str texts.

    Rows that are not good hold zeros, NaN or a blank text. Raises DataError if features have another width.
    """
    if kind == "features":
        vectors = as_matrix(column)
        if vectors.shape[1:] != shape:
            raise DataError(
                f"expected items of {shape[0]} features, as the model takes, got {vectors.shape[1]}; use another pool"
            )
        return vectors, np.atleast_1d(np.isfinite(vectors).all(axis=1))
    values = column.to_pylist()
    if kind == "text":
        texts = np.empty(len(values), object)
        texts[:] = ["" if text is None else text for text in values]
        return texts, np.array([bool(text.strip()) for text in texts], bool)
    images, good = decode(values, shape)
    payload = np.zeros((len(good), *shape), np.uint8)
    payload[good] = images
    return payload, good


def forms_of(column: Any, kind: Kind, shape: Shape) -> list[Form]:
    """(b,) what defines the features of each item: its text, or else `shape`. Nothing is decoded."""
    return [text or "" for text in column.to_pylist()] if kind == "text" else [shape] * len(column)


def pool_shape(pool: Pool) -> tuple[int, ...]:
    """Shape of the pool's items: (c, h, w) of most images, (d,) of features, () of texts."""
    if pool.kind == "image":
        return pool.image_shape()
    if pool.kind == "text":
        return ()
    return (pool.width,)


def word_lists(column: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """((b + 1,) offsets, (m,) word columns) of a pool's column `words`; null rows have no words.

    Raises DataError for columns out of range, which compiled code would read out of bounds.
    """
    lists = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if lists.null_count:
        lists = pa.array([row or [] for row in lists.to_pylist()], pa.list_(pa.int32()))
    offsets = lists.offsets.to_numpy().astype(np.int64)
    flat = lists.values.to_numpy(zero_copy_only=False)[offsets[0] : offsets[-1]]
    if len(flat) and not 0 <= flat.min() <= flat.max() < COLUMNS:
        raise DataError(
            f"the pool's column `words` holds {flat.min()}..{flat.max()}, expected 0..{COLUMNS - 1}; build the pool "
            "again with `xal pool build`"
        )
    return offsets - offsets[0], flat
