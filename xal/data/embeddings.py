"""Vectors of a pool's items, computed once and kept beside it.

    <store>/<encoder>/<pool file>/<first row>.npy     float16 or float32, (rows, d); NaN for items that cannot be read
    <store>/<encoder>/<pool file>/index.json          sizes and checksums, written when the file's rows are complete

`<encoder>` is a digest of the encoder's settings and weights, `<pool file>` one of the file's content. So a store is
shared by all recipes, runs and pools that hold the file, an appended file adds what is new, and a changed file is
embedded anew. Each .npy file holds `chunk_rows` rows (the last fewer) and appears only when it is complete.
"""

from __future__ import annotations

import json
import os
import time
import uuid
import zlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from xal.core.paths import remote
from xal.data.pool import Pool
from xal.errors import DataError
from xal.types import Rows

CHUNKS, MIN_ROWS, MAX_ROWS = 64, 32, 1024
INDEX = "index.json"
DAY_S = 86400
Dtype = Literal["float16", "float32"]


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """The vectors of a pool by one encoder, all of them kept in `folder`."""

    folder: Path
    """Of the encoder; absolute, or on an object store, so that workers on other nodes can open it."""
    files: tuple[str, ...]
    """Digest of each file of the pool, in order."""
    rows: tuple[int, ...]
    """Rows of each file."""
    width: int
    dtype: Dtype = "float32"

    @classmethod
    def of(cls, pool: Pool, folder: Path, width: int, dtype: Dtype = "float32") -> Embeddings:
        """The vectors of the pool in an encoder's folder, complete or not."""
        rows = tuple(sum(groups) for groups in pool.groups)
        files = tuple(content.hex()[:16] for content in pool.contents)
        return cls(folder=folder, files=files, rows=rows, width=width, dtype=dtype)

    def __len__(self) -> int:
        return sum(self.rows)

    @cached_property
    def starts(self) -> Rows:
        """(files + 1,) first row of each file in the pool, then the number of rows."""
        return np.concatenate([[0], np.cumsum(self.rows)]).astype(np.int64)

    def chunks(self) -> list[tuple[int, int]]:
        """(first row, last row + 1) in the pool of each file of vectors."""
        return [
            (first, min(first + chunk_rows(stop - start), stop))
            for start, stop in zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True)
            for first in range(start, stop, chunk_rows(stop - start))
        ]

    def missing(self) -> list[tuple[int, int]]:
        """The chunks that are not there, or are damaged, as `chunks`; reads every vector of files without index once.

        Raises DataError for vectors of another width or type, which another program must have written.
        """
        incomplete = {number for number, digest in enumerate(self.files) if not self._is_complete(digest)}
        numbers = (np.searchsorted(self.starts, [first for first, _ in self.chunks()], side="right") - 1).tolist()
        return [
            chunk
            for chunk, number in zip(self.chunks(), numbers, strict=True)
            if number in incomplete and not self._is_there(*chunk)
        ]

    def write(self, first: int, vectors: npt.NDArray[np.floating[Any]]) -> None:
        """Keep the vectors of a chunk that begins at row `first`."""
        path = self._path(first)
        path.parent.mkdir(parents=True, exist_ok=True)
        if remote(path):
            with path.open("wb") as stream:
                np.save(stream, vectors.astype(self.dtype))
            return
        aside = path.with_name(f".{uuid.uuid4().hex}")
        try:
            with aside.open("wb") as stream:
                np.save(stream, vectors.astype(self.dtype))
                stream.flush()
                os.fsync(stream.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    def finish(self) -> None:
        """Write the index of each file of the pool whose vectors are complete."""
        for number, digest in enumerate(self.files):
            if self._is_complete(digest):
                continue
            start, stop = self.starts[number : number + 2].tolist()
            chunks = range(start, stop, chunk_rows(stop - start))
            sums = {self._path(first).name: self._checksum(first) for first in chunks}
            index = {"rows": stop - start, "width": self.width, "dtype": self.dtype, "crc32": sums}
            path = self.folder / digest / INDEX
            aside = path if remote(path) else path.with_name(f".{uuid.uuid4().hex}")
            aside.write_text(json.dumps(index), encoding="utf-8")
            if aside is not path:
                aside.replace(path)
                _sweep(path.parent)

    def check(self) -> None:
        """Compare every vector with the checksums, once per process; DataError names the file that differs."""
        for digest in self.files:
            for name, expected in _index(self.folder / digest / INDEX)["crc32"].items():
                found = _crc32(self.folder / digest / name)
                if found != expected:
                    raise DataError(
                        f"the vectors in {self.folder / digest / name} have changed or are damaged; remove the folder "
                        f"{self.folder / digest}, and the next run computes them again"
                    )

    def read_span(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """(stop - start, d) vectors of consecutive rows."""
        return self.read(np.arange(start, stop))

    def read(self, rows: Rows) -> npt.NDArray[np.float32]:
        """(n, d) vectors of the rows, which ascend; NaN for items that could not be read."""
        vectors = np.empty((len(rows), self.width), np.float32)
        number = np.searchsorted(self.starts, rows, side="right") - 1
        sizes = np.array([chunk_rows(size) for size in self.rows])
        first = rows - (rows - self.starts[number]) % sizes[number]
        edges = np.flatnonzero(np.diff(first, prepend=-1, append=-1))
        for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            stored, places = self._load(int(first[begin])), rows[begin:end] - first[begin]
            whole = places[-1] - places[0] == end - begin - 1  # consecutive rows are copied once
            vectors[begin:end] = stored[places[0] : places[-1] + 1] if whole else stored[places]
        return vectors

    def _load(self, first: int) -> Any:
        path = self._path(first)
        try:
            if remote(path):
                with path.open("rb") as stream:
                    return np.load(stream, allow_pickle=False)
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"the vectors in {path} cannot be read ({error}); remove it and run again") from error

    def _path(self, first: int) -> Path:
        number = int(np.searchsorted(self.starts, first, side="right")) - 1
        return self.folder / self.files[number] / f"{first - int(self.starts[number]):012d}.npy"

    def _is_complete(self, digest: str) -> bool:
        path = self.folder / digest / INDEX
        if not path.exists():
            return False
        index = _index(path)
        if (index["width"], index["dtype"]) != (self.width, self.dtype):
            raise DataError(
                f"{path.parent} holds {index['dtype']} vectors of width {index['width']}, expected {self.dtype} of "
                f"width {self.width}; is it the store of another encoder?"
            )
        expected = {f"{first:012d}.npy" for first in range(0, index["rows"], chunk_rows(index["rows"]))}
        return set(index["crc32"]) == expected and all((path.parent / name).exists() for name in expected)

    def _is_there(self, first: int, stop: int) -> bool:
        path = self._path(first)
        if not path.exists():
            return False
        try:
            return bool(self._load(first).shape == (stop - first, self.width) and self._load(first).dtype == self.dtype)
        except DataError:
            return False  # half a file

    def _checksum(self, first: int) -> int:
        return _crc32(self._path(first))


def chunk_rows(rows: int) -> int:
    """Rows of each file of vectors, for a file of the pool with so many rows.

    They are what a worker computes at a time, and what a run that is stopped loses at most: enough of them to keep many
    workers busy and to see progress, few enough for an object store.
    """
    return min(max(-(-rows // CHUNKS), MIN_ROWS), MAX_ROWS)


def encoder_folder(store: Path, encoder: str, dtype: Dtype) -> Path:
    """The folder of an encoder's vectors in a store."""
    return store / f"{encoder}-{dtype}"


def store_of(pool: Pool, setting: Path | None, cache: Path) -> Path:
    """Where vectors are kept: as the recipe says, else beside the pool, else (if that is read-only) in the cache."""
    if setting is not None:
        return setting
    folder = pool.folder
    return folder / "embeddings" if remote(folder) or os.access(folder, os.W_OK) else cache / "embeddings"


def _sweep(folder: Path) -> None:
    """Remove what killed processes left a day ago or earlier; another process may be writing what is younger."""
    for leftover in folder.glob(".*"):
        if leftover.is_file() and time.time() - leftover.stat().st_mtime > DAY_S:
            leftover.unlink(missing_ok=True)


@lru_cache(maxsize=64)
def _index(path: Path) -> dict[str, Any]:
    try:
        index = dict(json.loads(path.read_text(encoding="utf-8")))
        return {key: index[key] for key in ("rows", "width", "dtype", "crc32")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is damaged ({error}); remove its folder, and the next run computes it again"
        ) from error


@lru_cache(maxsize=2**16)
def _crc32(path: Path) -> int:
    checksum = 0
    try:
        with path.open("rb") as stream:
            while block := stream.read(2**24):
                checksum = zlib.crc32(block, checksum)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    return checksum
