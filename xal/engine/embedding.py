"""Embed a pool: every item's vector, computed once by a frozen encoder, and kept (see `data.embeddings`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xal.core.config import unparse
from xal.data.decode import payload_of
from xal.data.embeddings import Dtype, Embeddings, encoder_folder
from xal.data.pool import Pool
from xal.data.sharding import Reader, Shard
from xal.encoders import Encoder
from xal.engine.engine import Advance, Session, silent
from xal.engine.tasks import Embed, check_failures
from xal.errors import DataError, RunError
from xal.types import Rows, Shape

Vectors = npt.NDArray[np.float32]
LOOKED_AT = 64  # items of which one must be readable, to learn the width


def embed_pool(
    session: Session,
    pool: Pool,
    encoder: Encoder,
    store: Path,
    shape: Shape,
    dtype: Dtype = "float32",
    advance: Advance = silent,
    say: Callable[[str], None] = lambda line: None,
) -> Pool:
    """The pool with the vectors of all its items; computes and keeps those that the store lacks.

    say: is told how many items have no vector, which no round will query. A pass that is stopped loses the unfinished
    chunks only. Raises DataError for a damaged store, RunError if more than `engine.max_failures` items fail.
    """
    folder = encoder_folder(store, digest_of(encoder), dtype)
    column = encoder.pool_column
    width = (
        _width(pool, encoder, shape)
        if column is None
        else vectors_in(pool, column, np.arange(min(LOOKED_AT, len(pool)))).shape[1]
    )
    embeddings = Embeddings.of(pool, folder, width, dtype)
    missing = embeddings.missing()
    if missing and column is not None:
        without, done, total = 0, 0, sum(stop - first for first, stop in missing)
        for first, stop in missing:
            vectors = vectors_in(pool, column, np.arange(first, stop), width)
            without += int((~np.isfinite(vectors).all(axis=1)).sum())
            embeddings.write(first, vectors)
            done += stop - first
            advance(done, total)
        embeddings.finish()
        if without:
            say(f"{without:,} items have no finite vector in column '{column}' and will not be queried")
    elif missing:
        batch = session.engine.batch
        reader = Reader(pool=pool, payload=True, labels=False, shape=shape, batch=batch)
        task = Embed(
            needs=frozenset({"embeddings"}),
            encoder=encoder,
            embeddings=embeddings,
            max_failures=session.engine.max_failures,
        )
        total, done = sum(stop - first for first, stop in missing), 0
        failed: list[tuple[str, str]] = []
        for result in session.execute(reader, task, [Shard(start=first, stop=stop) for first, stop in missing]):
            done += result.items
            failed += result.unreadable
            check_failures(failed, task.max_failures)
            advance(done, total)
        if embeddings.missing():
            raise RunError(f"{len(embeddings.missing())} files of vectors are missing in {folder}; run again")
        embeddings.finish()
        if failed:
            say(f"{len(failed):,} items have no vector and will not be queried, first '{failed[0][0]}': {failed[0][1]}")
    embeddings.check()
    return replace(pool, embeddings=embeddings)


def digest_of(encoder: Encoder) -> str:
    """16 hex digits of all that an encoder's vectors depend on, beside the item: its settings and its weights."""
    settings = json.dumps(unparse(encoder), sort_keys=True)
    return hashlib.sha256(f"{settings} {encoder.weights_digest}".encode()).hexdigest()[:16]


def vectors_in(pool: Pool, column: str, rows: Rows, width: int | None = None) -> Vectors:
    """(n, d) float32 vectors in a column of a pool, at these rows, which ascend; NaN where there is none.

    Raises DataError for a column that is missing, holds something else, or vectors of different lengths.
    """
    if column not in pool.columns:
        raise DataError(f"the pool {pool.folder} has no column '{column}'; it has {', '.join(pool.columns)}")
    values = pool.read(rows, [column])[column].combine_chunks()
    kind = values.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)) or not (
        pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
    ):
        raise DataError(f"column '{column}' of {pool.folder} holds {kind}, expected a list of numbers in each row")
    lengths = pc.list_value_length(values).drop_null().unique().to_pylist()
    if len(lengths) > 1 or (width is not None and lengths not in ([], [width])):
        raise DataError(
            f"column '{column}' of {pool.folder} holds vectors of different lengths: "
            f"{', '.join(map(str, sorted({*lengths, width or lengths[0]})))}"
        )
    width = lengths[0] if lengths else width
    if not width:
        raise DataError(f"column '{column}' of {pool.folder} holds no vector in its first rows")
    vectors = np.full((len(rows), width), np.nan, np.float32)
    present = values.is_valid().to_numpy(zero_copy_only=False)
    flat = pc.list_flatten(values.drop_null()).cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    vectors[present] = flat.reshape(-1, width)
    return vectors


def _width(pool: Pool, encoder: Encoder, shape: Shape) -> int:
    """Number of columns of the encoder's vectors, from one item; DataError if none can be read."""
    rows = np.arange(min(LOOKED_AT, len(pool)))
    payload, good = payload_of(pool.read(rows, [pool.kind])[pool.kind], pool.kind, shape)
    if not good.any():
        raise DataError(f"none of the first {len(rows)} items of {pool.folder} can be read")
    return int(encoder.load({}).vectors(payload[good][:1]).shape[1])
