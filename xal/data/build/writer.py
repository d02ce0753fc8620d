"""Write a pool's Parquet files row group by row group."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xal.core.hashed_words import presence
from xal.data.pool import METADATA_KEY, WORDS
from xal.types import Kind

GROUP_BYTES, MIN_ROWS, MAX_ROWS, MAX_BYTES = 2**15, 16, 2048, 2**26
"""Size of a row group, which a random read loads as a whole: 32 KiB of payload, but 16 to 2048 rows so that footers
stay small, and never beyond 64 MiB, whatever the number of rows."""


class PoolWriter:
    """Writes one Parquet file of a pool; `close` writes the classes, which are known only then, into the footer."""

    def __init__(self, path: Path, kind: Kind, *, labelled: bool, width: int = 0, relevance: str | None = None) -> None:
        payload = {"image": pa.binary(), "text": pa.string(), "features": pa.list_(pa.float32(), width)}[kind]
        fields = [("id", pa.string()), (kind, payload), *([("label", pa.string())] if labelled else [])]
        self._words = [("words", WORDS)] if kind == "text" else []
        fields += [(relevance, WORDS)] if relevance is not None else []
        fields += self._words
        self.schema = pa.schema(fields)
        self._writer = pq.ParquetWriter(
            path,
            self.schema,
            compression="zstd",
            use_dictionary=["label"] if labelled else False,
            write_statistics=["id"],  # statistics of payloads would only bloat the footer
        )
        self._labelled = labelled
        self._rows: list[tuple[Any, ...]] = []
        self._bytes = 0

    def add(
        self, identity: str, payload: bytes | str, label: str | None = None, relevance: Sequence[int] | None = None
    ) -> None:
        """Append one item; relevance: components that matter, or that do not, in a pool with such a column."""
        labels = (label,) if self._labelled else ()
        relevances = () if relevance is None else (relevance,)
        self._rows.append((identity, payload, *labels, *relevances))
        self._bytes += len(payload)
        enough = 1 if self._bytes >= MAX_BYTES else MIN_ROWS if self._bytes >= GROUP_BYTES else MAX_ROWS
        if len(self._rows) >= enough:
            self._flush()

    def close(self, classes: Sequence[str], channels: int | None = None, names: Sequence[str] = ()) -> None:
        """Write the remaining rows and the footer."""
        self._flush()
        metadata: dict[str, Any] = {"classes": list(classes)}
        metadata |= ({} if channels is None else {"channels": channels}) | ({"names": list(names)} if names else {})
        self._writer.add_key_value_metadata({METADATA_KEY: json.dumps(metadata).encode()})
        self._writer.close()

    def _flush(self) -> None:
        if not self._rows:
            return
        columns: list[Any] = list(zip(*self._rows, strict=True))
        if self._words:  # computed once here rather than in every pass
            bags = presence(columns[1])
            columns.append(pa.ListArray.from_arrays(pa.array(bags.indptr, pa.int32()), pa.array(bags.indices)))
        if pa.types.is_fixed_size_list(self.schema.types[1]):
            values = pa.array(np.frombuffer(b"".join(columns[1]), np.float32))
            columns[1] = pa.FixedSizeListArray.from_arrays(values, type=self.schema.types[1])
        self._writer.write_table(pa.table(columns, schema=self.schema), row_group_size=len(self._rows))
        self._rows, self._bytes = [], 0
