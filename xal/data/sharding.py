"""Shards of a pool, and the task that reads them: CPU work that needs neither a model nor torch.

A *shard* is a run of batches. A *batch* is cut by position in the pool (or in the sorted list of requested rows), never
by file, shard or worker, so that a network sees the same batches wherever they run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xal.core import hashed_words
from xal.data.decode import payload_of, word_lists
from xal.data.embeddings import Embeddings
from xal.data.pool import Pool
from xal.types import Rows

Block = dict[str, Any]
"""Arrays by name, all of the same length; `words` is sparse."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A run of batches: rows start..stop of the pool, or the rows listed."""

    start: int
    stop: int
    rows: Rows | None = None

    def positions(self) -> Rows:
        """The pool rows of this shard."""
        return np.arange(self.start, self.stop) if self.rows is None else self.rows


def shards(length: int, rows: Rows | None, batch: int, batches: int, slots: int | None = None) -> list[Shard]:
    """Cut a pool of `length` rows, or its sorted `rows`, into shards of `batches` batches of `batch` rows.

    slots: how many shards run at the same time; the last shards are then smaller, so that all slots finish together.
    """
    total, start, result = length if rows is None else len(rows), 0, []
    while start < total:
        batches_left = -(-(total - start) // batch)
        size = batches if slots is None else max(1, min(batches, batches_left // (2 * slots)))
        stop = min(start + size * batch, total)
        result.append(Shard(start=start, stop=stop, rows=None if rows is None else rows[start:stop]))
        start = stop
    return result


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads and decodes shards: a CPU task, which runs apart from the workers that hold a model."""

    pool: Pool
    payload: bool  # whether payloads are read
    labels: bool  # whether labels are read
    shape: tuple[int, ...] | None  # shape of an image or feature vector
    batch: int  # rows per batch
    exclude: pa.Array | None = None  # ids to leave out
    words: bool = False  # whether the pool's word lists are read
    vectors: Embeddings | None = None  # read in place of the payloads

    def __call__(self, shard: Shard) -> Block:
        """Arrays id, row, batch, good (b,) and, if requested, payload (b, ...), words (b, f) and label (b,)."""
        decoded = self.payload and self.vectors is None
        columns = ["id"] + [self.pool.kind] * decoded + ["words"] * self.words + ["label"] * self.labels
        positions = shard.positions()
        if shard.rows is None:
            table = self.pool.read_span(shard.start, shard.stop, columns)
        else:
            table = self.pool.read(shard.rows, columns)
        batches = np.arange(len(positions)) // self.batch
        if self.exclude is not None and len(self.exclude):
            keep = pc.invert(pc.is_in(table["id"], value_set=self.exclude))
            mask = keep.to_numpy()
            table, positions, batches = table.filter(keep), positions[mask], batches[mask]
        block: Block = {
            "id": table["id"].to_numpy(zero_copy_only=False).astype(object),
            "row": positions,
            "batch": batches,
            "good": np.ones(len(positions), bool),
        }
        if self.labels:
            block["label"] = table["label"].cast(pa.string()).fill_null("").to_numpy(zero_copy_only=False)
        if self.vectors is not None:
            block["payload"] = self.vectors.read(positions)
            block["good"] = np.isfinite(block["payload"]).all(axis=1)
        elif self.payload:
            block["payload"], block["good"] = payload_of(table[self.pool.kind], self.pool.kind, self.shape or ())
        if self.words:
            block["words"] = hashed_words.from_lists(*word_lists(table["words"]))
        return block
