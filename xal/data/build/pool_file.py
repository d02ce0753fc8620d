"""Write a pool of one file atomically."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xal.data.build.writer import PoolWriter
from xal.errors import DataError


class PoolFile:
    """A pool of one file, written in a context; it appears at its destination only if `finish` was called."""

    def __init__(self, destination: Path, kind: Any, relevance: Any = None, width: int = 0) -> None:
        if destination.exists():
            raise DataError(f"{destination} exists; remove it or build the pool elsewhere")
        self.destination, self.staging = destination, destination.with_name(f".{destination.name}-aside")
        self._options = {"kind": kind, "relevance": relevance, "width": width}
        self._closed = False

    def __enter__(self) -> PoolFile:
        self.staging.mkdir(parents=True, exist_ok=True)
        self._file = PoolWriter(self.staging / "part-00000.parquet", labelled=True, **self._options)
        return self

    def add(self, identity: str, payload: bytes | str, label: str, relevance: Sequence[int] | None = None) -> None:
        """Append one item."""
        self._file.add(identity, payload, label, relevance)

    def finish(self, classes: Sequence[str], channels: int | None = None, names: Sequence[str] = ()) -> None:
        """Write the classes into the footer and mark the pool as complete."""
        self._file.close(classes, channels, names)
        self._closed = True

    def __exit__(self, *_: object) -> None:
        if self._closed:
            self.staging.rename(self.destination)
        else:
            self._file.close(())
        shutil.rmtree(self.staging, ignore_errors=True)
