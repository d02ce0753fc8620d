"""Units of a pool, and who reads them: pure CPU tasks that need neither a model nor torch.

A *unit* is a run of batches; a *batch* is cut by position in the pool (or in the sorted list of rows asked for), never
by file, shard or worker, so that a network sees the same batches whoever runs them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xal.core import hashed_words
from xal.data.decode import payload_of, word_lists
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
        """The pool rows of this unit."""
        return np.arange(self.start, self.stop) if self.rows is None else self.rows


def shards(length: int, rows: Rows | None, batch: int, batches: int, slots: int | None = None) -> list[Shard]:
    """Cut a pool of `length` rows, or the sorted `rows` of it, into units of `batches` batches of `batch` rows.

    lanes: how many units are worked on at once; then the last units are smaller, so that all lanes end together.
    """
    total, start, cut = length if rows is None else len(rows), 0, []
    while start < total:
        left = -(-(total - start) // batch)
        size = batches if slots is None else max(1, min(batches, left // (2 * slots)))
        stop = min(start + size * batch, total)
        cut.append(Shard(start=start, stop=stop, rows=None if rows is None else rows[start:stop]))
        start = stop
    return cut


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads and decodes units: a pure CPU task, kept off the workers that hold a model."""

    pool: Pool
    payload: bool
    labels: bool
    shape: tuple[int, ...] | None
    batch: int
    exclude: pa.Array | None = None
    words: bool = False  # the pool's own word lists, in place of the payload

    def __call__(self, shard: Shard) -> Block:
        """Columns id (b,), row (b,), batch (b,), good (b,) and, as asked, payload, words (b, f) and label."""
        columns = ["id"] + [self.pool.kind] * self.payload + ["words"] * self.words + ["label"] * self.labels
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
        if self.payload:
            block["payload"], block["good"] = payload_of(table[self.pool.kind], self.pool.kind, self.shape or ())
        if self.words:
            block["words"] = hashed_words.from_lists(*word_lists(table["words"]))
        return block
