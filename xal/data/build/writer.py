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

GROUP_BYTES, FEWEST, MOST, LARGEST = 2**15, 16, 2048, 2**26
"""A row group is what one random read costs: it ends at 32 KiB of payload, but holds 16 to 2048 rows, or footers would
grow without need; at 64 MiB it ends in any case."""


class PoolWriter:
    """One Parquet file of a pool; the classes go into its footer on closing, when they are known."""

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
            write_statistics=["id"],  # those of payloads would fill the footer with pieces of them
        )
        self._labelled = labelled
        self._rows: list[tuple[Any, ...]] = []
        self._bytes = 0

    def add(
        self, identity: str, payload: bytes | str, label: str | None = None, relevance: Sequence[int] | None = None
    ) -> None:
        """Append one item; relevance: the components that matter, or do not, where the pool says so."""
        given = (label,) if self._labelled else ()
        self._rows.append((identity, payload, *given) if relevance is None else (identity, payload, *given, relevance))
        self._bytes += len(payload)
        fewest = 1 if self._bytes >= LARGEST else FEWEST if self._bytes >= GROUP_BYTES else MOST
        if len(self._rows) >= fewest:
            self._flush()

    def close(self, classes: Sequence[str], channels: int | None = None, names: Sequence[str] = ()) -> None:
        """Write what is left and the footer."""
        self._flush()
        metadata: dict[str, Any] = {"classes": list(classes)}
        metadata |= ({} if channels is None else {"channels": channels}) | ({"names": list(names)} if names else {})
        self._writer.add_key_value_metadata({METADATA_KEY: json.dumps(metadata).encode()})
        self._writer.close()

    def _flush(self) -> None:
        if not self._rows:
            return
        columns: list[Any] = list(zip(*self._rows, strict=True))
        if self._words:  # once here, and never again in a pass
            found = presence(columns[1])
            columns.append(pa.ListArray.from_arrays(pa.array(found.indptr, pa.int32()), pa.array(found.indices)))
        if pa.types.is_fixed_size_list(self.schema.types[1]):
            values = pa.array(np.frombuffer(b"".join(columns[1]), np.float32))
            columns[1] = pa.FixedSizeListArray.from_arrays(values, type=self.schema.types[1])
        self._writer.write_table(pa.table(columns, schema=self.schema), row_group_size=len(self._rows))
        self._rows, self._bytes = [], 0
