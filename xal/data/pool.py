"""A pool in Parquet files. Only the row groups with the requested rows are read, so it need not fit in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from xal.core.paths import location, remote
from xal.data import images
from xal.data.survey import Survey
from xal.errors import DataError
from xal.types import Kind, Rows

KINDS: tuple[Kind, ...] = ("image", "text", "features")
METADATA_KEY = b"xal"
WORDS = pa.list_(pa.int32())
"""Type of the optional column `words` of a text pool: the sorted columns of each text's words in `hashed_words`."""
RELEVANCE_COLUMNS = ("relevant", "irrelevant")
"""Optional columns of list<int32>: components of an item's payload that matter, or that do not; for simulations."""
SURVEYED = 256  # images whose headers say what a pool holds
READ_BYTES = 2**25  # approximate number of bytes of a file that are read at once


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A pool, described by its Parquet footers. Rows are global positions over the files, sorted by name."""

    folder: Path  # absolute, or on an object store, so that workers on other nodes can open it
    files: tuple[str, ...]
    sizes: tuple[int, ...]  # bytes of each file
    groups: tuple[tuple[int, ...], ...]  # rows of each row group, one tuple per file
    columns: tuple[str, ...]
    kind: Kind
    classes: tuple[str, ...]  # from the metadata, else the distinct labels, sorted
    has_labels: bool  # whether there is a label column
    channels: int | None  # from the metadata; None: the images decide
    width: int  # number of features; 0: not a pool of features
    names: tuple[str, ...]  # names of the features, if the metadata has them
    embeddings: Any = None  # `data.embeddings.Embeddings`: kept vectors of the items, for passes that need no payload

    @classmethod
    def open(cls, path: Path | str) -> Pool:
        """Read the footers of a Parquet file, or of every `*.parquet` in a folder."""
        path = location(path).resolve()
        if not path.exists():
            raise DataError(f"no pool at {path}; build one with `xal pool build` (`xal pool --help` lists other ways)")
        files = [path] if path.is_file() else sorted(path.glob("[!.]*.parquet"), key=lambda file: file.name)
        if not files:
            raise DataError(f"{path} holds no *.parquet files; build a pool with `xal pool build`")
        sizes = tuple(file.stat().st_size for file in files)
        footers = [_footer(file, size) for file, size in zip(files, sizes, strict=True)]
        schema = footers[0][0]
        for file, (file_schema, _, _) in zip(files[1:], footers[1:], strict=True):
            if _types(file_schema) != _types(schema):
                raise DataError(
                    f"the files of a pool must have the same columns, but {files[0].name} has {_described(schema)} "
                    f"and {file.name} has {_described(file_schema)}"
                )
        kind = _kind(schema, path)
        groups = tuple(groups for _, groups, _ in footers)
        if not any(map(sum, groups)):
            raise DataError(f"the pool {path} is empty: 0 rows in {len(files)} file(s)")
        pool = cls(
            folder=path if path.is_dir() else path.parent,
            files=tuple(file.name for file in files),
            sizes=sizes,
            groups=groups,
            columns=tuple(schema.names),
            kind=kind,
            classes=tuple(_common_value("classes", files, footers) or ()),
            has_labels="label" in schema.names,
            channels=_common_value("channels", files, footers),
            width=schema.field("features").type.list_size if kind == "features" else 0,
            names=tuple(_common_value("names", files, footers) or ()),
        )
        if pool.classes or not pool.has_labels:
            return pool
        return replace(pool, classes=pool.distinct_labels())

    def __len__(self) -> int:
        return int(self.offsets[-1])

    @property
    def has_words(self) -> bool:
        """Whether the pool lists the words of its texts."""
        return self.kind == "text" and "words" in self.columns

    @cached_property
    def offsets(self) -> Rows:
        """(row groups + 1,) first row of each row group, then the number of rows."""
        return np.concatenate([[0], np.cumsum([rows for file in self.groups for rows in file])]).astype(np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """`sha256:` and 16 hex digits of the contents of the files, in order; reads all of them, once.

        On an object store, of what the store says of each object (its checksum or ETag), which reads nothing.
        """
        return f"sha256:{hashlib.sha256(b''.join(self.contents)).hexdigest()[:16]}"

    @cached_property
    def contents(self) -> tuple[bytes, ...]:
        """The digest (32 bytes) of each file; see `fingerprint`."""
        return tuple(_content(path, size) for path, size in zip(self._paths, self.sizes, strict=True))

    @property
    def stamp(self) -> str:
        """What tells cheaply that no file was touched: path, inode, size and times of each."""
        if remote(self.folder):
            return self.fingerprint
        stats = [(str(path), path.stat()) for path in self._paths]
        return json.dumps([(p, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for p, s in stats])

    @cached_property
    def layout(self) -> str:
        """16 hex digits of file names, file sizes and row group sizes: the fingerprint before version 0.3."""
        return hashlib.sha256(json.dumps([self.files, self.sizes, self.groups]).encode()).hexdigest()[:16]

    @property
    def _paths(self) -> list[Path]:
        return [self.folder / name for name in self.files]

    @cached_property
    def _group_locations(self) -> Rows:
        """(row groups, 2) file of each row group, and its index in that file."""
        counts = [len(groups) for groups in self.groups]
        return np.column_stack([np.repeat(np.arange(len(counts)), counts), np.concatenate([*map(np.arange, counts)])])

    def read(self, rows: Rows, columns: Sequence[str]) -> pa.Table:
        """The given rows, in ascending order; only the row groups that hold them are read. Ids are strings."""
        rows = np.asarray(rows, np.int64)
        if np.any(np.diff(rows) < 0):
            raise DataError("rows to read from a pool must be in ascending order; sort them")
        if not len(rows):
            return self._empty_table(columns)
        if rows[0] < 0 or rows[-1] >= len(self):
            raise DataError(f"requested rows {rows[0]}..{rows[-1]}, but the pool holds rows 0..{len(self) - 1}")
        group_of = np.searchsorted(self.offsets, rows, side="right") - 1
        parts = []
        for groups, table in self._tables(np.unique(group_of), columns):
            span = slice(*np.searchsorted(group_of, [groups[0], groups[-1] + 1]))
            sizes = self.offsets[groups + 1] - self.offsets[groups]
            group_starts = np.concatenate([[0], np.cumsum(sizes)])[np.searchsorted(groups, group_of[span])]
            parts.append(table.take(pa.array(group_starts + rows[span] - self.offsets[group_of[span]])))
        return pa.concat_tables(parts)

    def read_span(self, start: int, stop: int, columns: Sequence[str]) -> pa.Table:
        """The rows from `start` to `stop` - 1."""
        if not 0 <= start <= stop <= len(self):
            raise DataError(f"requested rows {start}..{stop}, but the pool has {len(self)} rows")
        if start == stop:
            return self._empty_table(columns)
        first = int(np.searchsorted(self.offsets, start, side="right")) - 1
        last = int(np.searchsorted(self.offsets, stop, side="left"))
        table = pa.concat_tables(table for _, table in self._tables(np.arange(first, last), columns))
        return table.slice(start - int(self.offsets[first]), stop - start)

    def scan(self, columns: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """Yield (first row, table) for a few row groups at a time, until all rows are read, in order."""
        for groups, table in self._tables(np.flatnonzero(np.diff(self.offsets)), columns):
            yield int(self.offsets[groups[0]]), table

    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of most images; see `survey`."""
        return self.survey.shape

    @cached_property
    def survey(self) -> Survey:
        """What images the pool holds, by the headers of up to 256 of them, evenly spaced.

        Raises DataError if none of these can be read.
        """
        if self.kind != "image":
            raise DataError(f"expected a pool of images, but {self.folder} holds {self.kind}")
        number = min(len(self), SURVEYED)
        rows = np.linspace(0, len(self) - 1, number).round().astype(np.int64)
        found = []
        for payload in self.read(rows, ["image"])["image"]:
            with suppress(DataError):
                found.append(images.shape_of(payload.as_py()))
        if not found:
            raise DataError(f"none of {number} images looked at in {self.folder} can be read; see `xal pool check`")
        return Survey.of(found, self.channels)

    def _tables(self, groups: Rows, columns: Sequence[str]) -> Iterator[tuple[Rows, pa.Table]]:
        """Yield (row groups, table) for the given row groups (ascending), a few of one file at a time."""
        names = self._checked_columns(columns)
        files = self._group_locations[groups, 0]
        for file in np.unique(files):
            path = self.folder / self.files[file]
            in_file = groups[files == file]
            at_once = max(1, READ_BYTES * len(self.groups[file]) // max(self.sizes[file], 1))
            with _parquet(path, self.sizes[file]) as parquet:
                for start in range(0, len(in_file), at_once):
                    indices = self._group_locations[in_file[start : start + at_once], 1]
                    try:
                        table = parquet.read_row_groups(indices.tolist(), names, use_threads=False)
                        table = _cast(table.select(names))
                        table.validate(full=True)  # strings of a damaged file may be no UTF-8
                    except (pa.ArrowException, OSError) as error:
                        raise DataError(
                            f"cannot read row groups {indices[0]} to {indices[-1]} of {path}; is it damaged? ({error})"
                        ) from error
                    yield in_file[start : start + at_once], table

    def _checked_columns(self, columns: Sequence[str]) -> list[str]:
        unknown = [name for name in columns if name not in self.columns]
        if unknown:
            raise DataError(f"the pool {self.folder} has no column {unknown}; it has {list(self.columns)}")
        return list(columns)

    def _empty_table(self, columns: Sequence[str]) -> pa.Table:
        names = self._checked_columns(columns)
        with _parquet(self.folder / self.files[0], self.sizes[0]) as parquet:
            return _cast(parquet.schema_arrow.remove_metadata().empty_table().select(names))

    def distinct_labels(self) -> tuple[str, ...]:
        """The distinct labels without blanks, sorted."""
        labels: set[str | None] = set()
        for _, table in self.scan(["label"]):
            labels.update(table["label"].unique().to_pylist())
        return tuple(sorted(label for label in labels if label is not None and label.strip()))


_Footer = tuple[Any, tuple[int, ...], dict[str, Any]]  # schema, rows of each row group, our metadata


def _parquet(path: Path, size: int) -> Any:
    """Open a Parquet file; raises DataError if it is no longer `size` bytes or is not a Parquet file."""
    try:
        new_size, modified = (size, 0) if remote(path) else (path.stat().st_size, path.stat().st_mtime_ns)
        if new_size != size:
            raise DataError(f"{path} has changed: it had {size:,} bytes, now {new_size:,}; put the old file back")
        return pq.ParquetFile(_source(path), metadata=_metadata(path, size, modified), pre_buffer=remote(path))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a whole Parquet file; write or copy it again ({error})") from error


@lru_cache(maxsize=2)
def _metadata(path: Path, size: int, modified: int) -> Any:
    """A file's footer, cached between shards; only two are kept because parsed footers are large."""
    with pq.ParquetFile(_source(path)) as parquet:
        return parquet.metadata


def _content(path: Path, size: int) -> bytes:
    """32 bytes that stand for the content of a file."""
    if remote(path):
        info = cast(Any, path).fs.info(cast(Any, path).path)
        told = next((str(info[key]) for key in ("ETag", "etag", "md5Hash", "crc32c") if info.get(key)), "")
        return hashlib.sha256(f"{told} {size}".encode()).digest()
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _source(path: Path) -> Any:
    """The file for pyarrow to open; without readahead on an object store, where it would fetch many row groups."""
    return cast(Any, path).open("rb", cache_type="none") if remote(path) else path


def _footer(path: Path, size: int) -> _Footer:
    with _parquet(path, size) as parquet:
        try:
            schema = parquet.schema_arrow
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise DataError(f"{path} is not a whole Parquet file; write or copy it again ({error})") from error
        footer = parquet.metadata
        rows = tuple(footer.row_group(group).num_rows for group in range(footer.num_row_groups))
        raw = (footer.metadata or {}).get(METADATA_KEY, b"{}")
        try:
            return schema, rows, _checked_metadata(json.loads(raw))
        except (ValueError, TypeError) as error:
            raise DataError(
                f"{path}: its metadata `xal` should be a JSON object with classes, channels and names, got {raw[:80]!r}"
            ) from error


def _checked_metadata(given: Any) -> dict[str, Any]:
    """The metadata of a file; ValueError or TypeError if it is not what a PoolWriter writes."""
    told: dict[str, Any] = dict(given)
    for key in ("classes", "names"):
        names = told.get(key)
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise TypeError(key)
    if told.get("channels") not in (None, 1, 3):
        raise ValueError("channels")
    return told


def _common_value(key: str, files: Sequence[Path], footers: Sequence[_Footer]) -> Any:
    """The metadata value of `key`, which all files must share; None if a file has none."""
    first = footers[0][2].get(key)
    for file, (_, _, metadata) in zip(files, footers, strict=True):
        value = metadata.get(key)
        if value is None:
            return None
        if value != first:
            raise DataError(
                f"the files of a pool must agree, but {files[0].name} says {key} {first}, {file.name} {value}"
            )
    return first


def _types(schema: Any) -> dict[str, Any]:
    return {field.name: field.type for field in schema}


def _described(schema: Any) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema) or "none"


def _is_string(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _kind(schema: Any, path: Path) -> Kind:
    """The kind of the payload column; raises DataError if a column is missing or has an unexpected type."""
    advice = f"in {path}, got columns {_described(schema)}; build one with `xal pool build`"
    if "id" not in schema.names:
        raise DataError(f"a pool needs an `id` column of strings {advice}")
    payloads = [kind for kind in KINDS if kind in schema.names]
    if len(payloads) != 1 or len(set(schema.names)) < len(schema.names):
        raise DataError(f"a pool needs exactly one column of `image`, `text` or `features` {advice}")
    kinds = _types(schema)
    payload = kinds[payloads[0]]
    if not (_is_string(kinds["id"]) or pa.types.is_integer(kinds["id"])):
        raise DataError(f"`id` must be string (or integer) {advice}")
    if payloads[0] == "image" and not (pa.types.is_binary(payload) or pa.types.is_large_binary(payload)):
        raise DataError(f"`image` must be binary, the bytes of an image file, {advice}")
    if payloads[0] == "text" and not _is_string(payload):
        raise DataError(f"`text` must be string {advice}")
    if payloads[0] == "features" and not (
        pa.types.is_fixed_size_list(payload) and pa.types.is_float32(payload.value_type) and payload.list_size
    ):
        raise DataError(f"`features` must be fixed_size_list<float32> {advice}")
    words = kinds.get("words", WORDS)
    if not (pa.types.is_list(words) and pa.types.is_int32(words.value_type)):
        raise DataError(f"`words` must be list<int32>, the columns of xal.core.hashed_words, {advice}")
    for name in RELEVANCE_COLUMNS:
        listed = kinds.get(name, WORDS)
        if not (pa.types.is_list(listed) and pa.types.is_integer(listed.value_type)):
            raise DataError(f"`{name}` must be list<int32>, components of the payload, {advice}")
    label = kinds.get("label", pa.string())
    label = label.value_type if pa.types.is_dictionary(label) else label
    if not (_is_string(label) or pa.types.is_integer(label) or pa.types.is_boolean(label) or pa.types.is_null(label)):
        raise DataError(f"`label` must be string, the name of a class, {advice}")
    return payloads[0]


def _cast(table: pa.Table) -> pa.Table:
    """Cast columns to the types that the rest of the code relies on."""
    for index, field in enumerate(table.schema):
        expected = {"id": pa.string(), "label": pa.string(), "text": pa.string(), "image": pa.binary()}.get(field.name)
        if expected is not None and field.type != expected:
            table = table.set_column(index, field.name, table[field.name].cast(expected))
    return table


def as_matrix(features: Any) -> npt.NDArray[np.float32]:
    """(b, d) matrix of a `features` column; null rows and numbers become NaN."""
    column = features.combine_chunks() if isinstance(features, pa.ChunkedArray) else features
    if column.null_count == 0 and column.values.null_count == 0:
        return np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float32).reshape(
            -1, column.type.list_size
        )
    rows = [[None] * column.type.list_size if row is None else row for row in column.to_pylist()]
    return np.array(rows, np.float32)
