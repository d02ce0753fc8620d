"""Tables to build a pool from: CSV or Parquet with a text or with columns of numbers, JSON lines with a text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from xal.core import hashed_words
from xal.data.build.source import UNREADABLE, Item, Source, binary
from xal.data.pool import RELEVANCE_COLUMNS
from xal.errors import DataError

_BLOCK = 1 << 24  # bytes of CSV whose values decide a column's type; also the longest row


@dataclass(frozen=True)
class _Roles:
    """Which column is what; no id: the row number is the id."""

    id: str | None
    label: str | None
    text: str | None
    numbers: tuple[str, ...] = ()
    relevance: str | None = None


def _roles(
    path: Path,
    types: dict[str, Any],
    id_column: str,
    label_column: str | None,
    text_column: str | None,
    notes: list[str],
) -> _Roles:
    for name, default in ((id_column, "id"), (label_column, "label"), (text_column, None)):
        if name is not None and name != default and name not in types:
            raise DataError(f"{path} has no column `{name}`; it has {list(types)}")
    identity = id_column if id_column in types else None
    if identity is None:
        notes.append(f"no column `{id_column}`: the row number, from 0, is the id")
    label = label_column if label_column in types else None
    text = text_column or ("text" if "text" in types else None)
    relevance = next((name for name in RELEVANCE_COLUMNS if name in types and not _is_number(types[name])), None)
    rest = [name for name in types if name not in (identity, label, text, relevance)]
    if text is not None:
        if rest:
            notes.append(f"columns left out: {', '.join(rest)}")
        return _Roles(identity, label, text, relevance=relevance)
    odd = [name for name in rest if not _is_number(types[name])]
    if odd or not rest:
        raise DataError(
            f"{path}: expected a `text` column or nothing but numbers beside id and label, got "
            f"{', '.join(f'{name} ({types[name]})' for name in odd) or 'no other column'}; "
            "drop such columns or name the text with --text-column"
        )
    return _Roles(identity, label, None, tuple(rest), relevance)


def _is_number(kind: Any) -> bool:
    return kind is not None and bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _components(raw: Any, text: Any, names: Sequence[str]) -> tuple[int, ...]:
    """Of names of words or columns, a list or with `;` between them; DataError where the item has no such."""
    listed = raw if isinstance(raw, list) else str("" if raw is None else raw).split(";")
    wanted = [str(name).strip() for name in listed if str(name).strip()]
    there = {word: hashed_words.column(word) for word in hashed_words.tokens(str(text))} if not names else {}
    there |= {name: number for number, name in enumerate(names)}
    strange = [name for name in wanted if name not in there and name.lower() not in there]
    if strange:
        what = f"no columns of the table: {', '.join(strange)}" if names else f"no words of it: {', '.join(strange)}"
        raise DataError(f"what matters names {what}")
    return tuple(sorted({there.get(name, there.get(name.lower(), 0)) for name in wanted}))


def _told(item: Item, raw: Any, roles: _Roles) -> Item:
    """The item with what matters in it, if the source says so."""
    if roles.relevance is None:
        return item
    try:
        return replace(item, relevance=_components(raw, item.raw, roles.numbers))
    except DataError as error:
        return replace(item, reason=str(error))


def _text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise DataError(f"the text is {type(raw).__name__}, expected a string")
    if not raw.strip():
        raise DataError("the text is blank")
    return raw


def _finite(raw: bytes) -> bytes:
    if not np.isfinite(np.frombuffer(raw, np.float32)).all():
        raise DataError("a number is missing, infinite or NaN")
    return raw


def _table(path: Path, batches: Callable[[], Iterator[Any]], total: int, roles: _Roles, notes: list[str]) -> Source:
    """A source of record batches; besides them the iterator may yield Items that could not be parsed."""

    def items() -> Iterator[Item]:
        row, digits = 0, len(str(max(total - 1, 0)))
        for batch in batches():
            if isinstance(batch, Item):
                yield batch
                continue
            count = batch.num_rows
            nones = [None] * count
            ids = batch.column(roles.id).cast(pa.string()).to_pylist() if roles.id else nones
            labels = batch.column(roles.label).cast(pa.string()).to_pylist() if roles.label else nones
            if roles.text:
                raws = batch.column(roles.text).to_pylist()
            else:
                numbers = [batch.column(name).cast(pa.float32(), safe=False) for name in roles.numbers]
                matrix = np.column_stack([column.to_numpy(zero_copy_only=False) for column in numbers])
                raws = [values.tobytes() for values in matrix]
            read_relevance = batch.column(roles.relevance).to_pylist() if roles.relevance else nones
            for identity, raw, label, relevance in zip(ids, raws, labels, read_relevance, strict=True):
                name = f"{row:0{digits}d}" if roles.id is None else identity
                row += 1
                yield (
                    _told(Item(name, raw, label), relevance, roles) if name else Item(f"row {row - 1}", reason="no id")
                )

    return Source(
        kind="text" if roles.text else "features",
        items=_reported(path, items()),
        prepare=_text if roles.text else _finite,
        labelled=roles.label is not None,
        total=total,
        width=len(roles.numbers),
        names=roles.numbers,
        relevance=roles.relevance,
        notes=notes,
    )


def _reported(path: Path, items: Iterator[Item]) -> Iterator[Item]:
    try:
        yield from items
    except (pa.ArrowException, *UNREADABLE) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def csv_table(path: Path, id_column: str, label_column: str | None, text_column: str | None) -> Source:
    broken: list[Any] = []

    def opened(types: dict[str, Any], include: Sequence[str] = ()) -> Any:
        def skip(row: Any) -> str:
            broken.append(row)
            return "skip"

        return pc.open_csv(
            pa.input_stream(str(path), compression="gzip" if path.suffix == ".gz" else None),
            pc.ReadOptions(block_size=_BLOCK, use_threads=False),
            pc.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
            pc.ConvertOptions(column_types=types, include_columns=list(include)),
        )

    notes: list[str] = []
    try:
        schema = opened({}).schema
        types = {column.name: column.type for column in schema}
        if len(types) < len(schema):
            raise DataError(f"{path} names a column twice: {schema.names}")
        roles = _roles(path, types, id_column, label_column, text_column, notes)
        first = schema.names[0]
        broken.clear()
        total = sum(batch.num_rows for batch in opened({first: pa.string()}, [first])) + len(broken)
    except (pa.ArrowException, *UNREADABLE) as error:
        raise DataError(f"cannot read {path} as CSV in UTF-8 with a header line: {error}") from error
    # strings stay as they are written ("007"), and a column that starts with whole numbers may go on with others
    wanted = {name: pa.string() for name in (roles.id, roles.label, roles.text, roles.relevance) if name}
    wanted |= {name: pa.float64() for name in roles.numbers}

    def batches() -> Iterator[Any]:
        broken.clear()
        for batch in opened(wanted, list(wanted)):
            yield batch
            yield from _broken_rows(broken)
        yield from _broken_rows(broken)

    return _table(path, batches, total, roles, notes)


def _broken_rows(broken: list[Any]) -> list[Item]:
    # the parser counts records, the header as 1: the line in the file unless a quoted value spans lines
    items = [
        Item(f"line {row.number}", reason=f"{row.actual_columns} values, expected {row.expected_columns}")
        for row in broken
    ]
    broken.clear()
    return items


def parquet_table(path: Path, id_column: str, label_column: str | None, text_column: str | None) -> Source:
    notes: list[str] = []
    try:
        with pq.ParquetFile(path) as parquet:
            types, total = {column.name: column.type for column in parquet.schema_arrow}, parquet.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a whole Parquet file ({error})") from error
    roles = _roles(path, types, id_column, label_column, text_column, notes)

    def batches() -> Iterator[Any]:
        wanted = [name for name in (roles.id, roles.label, roles.text, roles.relevance, *roles.numbers) if name]
        with pq.ParquetFile(path) as parquet:
            yield from parquet.iter_batches(columns=wanted)

    return _table(path, batches, total, roles, notes)


def json_lines(
    path: Path, id_column: str, label_column: str | None, text_column: str | None, where: dict[str, str]
) -> Source:
    def records() -> Iterator[tuple[int, dict[str, Any] | str]]:
        with binary(path) as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    try:
                        record = json.loads(line)
                        if b"\\u" in line:
                            json.dumps(record, ensure_ascii=False).encode()  # half a surrogate pair is no text
                    except ValueError as error:
                        record = f"not JSON: {error}"
                    if not isinstance(record, dict) or all(str(record.get(k)) == v for k, v in where.items()):
                        yield number, record if isinstance(record, dict | str) else "not a JSON object"

    notes: list[str] = []
    try:
        first = next((record for _, record in records() if isinstance(record, dict)), None)
        total = sum(1 for _ in records())
    except UNREADABLE as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if first is None:
        raise DataError(f"{path} holds no JSON object{f' where {where}' if where else ''}; expected one a line")
    if (text_column or "text") not in first:
        raise DataError(
            f"{path} has no `{text_column or 'text'}`; it has {list(first)}; name the text with --text-column"
        )
    roles = _roles(path, dict.fromkeys(first), id_column, label_column, text_column, notes)

    def items() -> Iterator[Item]:
        for row, (number, record) in enumerate(records()):
            if isinstance(record, str):
                yield Item(f"line {number}", reason=record)
                continue
            identity = f"{row:0{len(str(total - 1))}d}" if roles.id is None else record.get(roles.id)
            label = record.get(roles.label) if roles.label else None
            if identity is None or identity == "":
                yield Item(f"line {number}", reason="no id")
            else:
                item = Item(str(identity), record.get(roles.text or "text"), None if label is None else str(label))
                yield _told(item, record.get(roles.relevance) if roles.relevance else None, roles)

    return Source(
        kind="text",
        items=_reported(path, items()),
        prepare=_text,
        labelled=roles.label is not None,
        total=total,
        relevance=roles.relevance,
        notes=notes,
    )
