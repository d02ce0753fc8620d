"""Embed a pool: every item's vector, computed once by a frozen encoder, and kept (see `data.embeddings`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from xal.core.config import unparse
from xal.data.decode import payload_of
from xal.data.embeddings import Dtype, Embeddings, encoder_folder
from xal.data.pool import Pool
from xal.data.sharding import Reader, Shard
from xal.encoders import Encoder
from xal.engine.engine import Advance, Session, silent
from xal.engine.tasks import Embed, check_failures
from xal.errors import DataError, RunError
from xal.types import Shape

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
    embeddings = Embeddings.of(pool, folder, _width(pool, encoder, shape), dtype)
    missing = embeddings.missing()
    if missing:
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


def _width(pool: Pool, encoder: Encoder, shape: Shape) -> int:
    """Number of columns of the encoder's vectors, from one item; DataError if none can be read."""
    rows = np.arange(min(LOOKED_AT, len(pool)))
    payload, good = payload_of(pool.read(rows, [pool.kind])[pool.kind], pool.kind, shape)
    if not good.any():
        raise DataError(f"none of the first {len(rows)} items of {pool.folder} can be read")
    return int(encoder.load({}).vectors(payload[good][:1]).shape[1])
