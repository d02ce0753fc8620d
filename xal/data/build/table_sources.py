"""Table sources of a pool: CSV or Parquet with a text or with columns of numbers, JSON lines with a text."""

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

_BLOCK = 1 << 24  # bytes of CSV from which column types are inferred; also the maximum length of a row


@dataclass(frozen=True)
class _Roles:
    """The role of each column; id None: the row number is the id."""

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
    not_numbers = [name for name in rest if not _is_number(types[name])]
    if not_numbers or not rest:
        raise DataError(
            f"{path}: expected a `text` column, or only numbers besides id and label, got "
            f"{', '.join(f'{name} ({types[name]})' for name in not_numbers) or 'no other column'}; "
            "drop such columns or name the text with --text-column"
        )
    return _Roles(identity, label, None, tuple(rest), relevance)


def _is_number(kind: Any) -> bool:
    return kind is not None and bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _components(raw: Any, text: Any, names: Sequence[str]) -> tuple[int, ...]:
    """Components of the named words of `text`, or of the named columns if there are `names`.

    raw: a list of names, or names separated by `;`. Raises DataError for a name that is not there.
    """
    parts = raw if isinstance(raw, list) else str("" if raw is None else raw).split(";")
    relevant = [str(name).strip() for name in parts if str(name).strip()]
    if names:
        index_of = {name: index for index, name in enumerate(names)}
    else:
        index_of = {word: hashed_words.column(word) for word in hashed_words.tokens(str(text))}
    unknown = [name for name in relevant if name not in index_of and name.lower() not in index_of]
    if unknown:
        raise DataError(f"relevance of {'columns' if names else 'words'} that are not there: {', '.join(unknown)}")
    return tuple(sorted({index_of.get(name, index_of.get(name.lower(), 0)) for name in relevant}))


def _with_relevance(item: Item, raw: Any, roles: _Roles) -> Item:
    """The item with its relevant or irrelevant components, if the source lists them."""
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
    """A source of record batches; `batches` may also yield Items for rows that could not be parsed."""

    def items() -> Iterator[Item]:
        row, digits = 0, len(str(max(total - 1, 0)))
        for batch in batches():
            if isinstance(batch, Item):
                yield batch
                continue
            nones = [None] * batch.num_rows
            ids = batch.column(roles.id).cast(pa.string()).to_pylist() if roles.id else nones
            labels = batch.column(roles.label).cast(pa.string()).to_pylist() if roles.label else nones
            if roles.text:
                raws = batch.column(roles.text).to_pylist()
            else:
                numbers = [batch.column(name).cast(pa.float32(), safe=False) for name in roles.numbers]
                matrix = np.column_stack([column.to_numpy(zero_copy_only=False) for column in numbers])
                raws = [values.tobytes() for values in matrix]
            relevances = batch.column(roles.relevance).to_pylist() if roles.relevance else nones
            for identity, raw, label, relevance in zip(ids, raws, labels, relevances, strict=True):
                name = f"{row:0{digits}d}" if roles.id is None else identity
                row += 1
                yield (
                    _with_relevance(Item(name, raw, label), relevance, roles)
                    if name
                    else Item(f"row {row - 1}", reason="no id")
                )

    return Source(
        kind="text" if roles.text else "features",
        items=_checked(path, items()),
        prepare=_text if roles.text else _finite,
        labelled=roles.label is not None,
        total=total,
        width=len(roles.numbers),
        names=roles.numbers,
        relevance=roles.relevance,
        notes=notes,
    )


def _checked(path: Path, items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items; raises DataError if the file cannot be read to its end."""
    try:
        yield from items
    except (pa.ArrowException, *UNREADABLE) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def csv_table(path: Path, id_column: str, label_column: str | None, text_column: str | None) -> Source:
    """The rows of a CSV file (UTF-8, with a header line, also gzip)."""
    invalid_rows: list[Any] = []

    def open_csv(types: dict[str, Any], include: Sequence[str] = ()) -> Any:
        def skip(row: Any) -> str:
            invalid_rows.append(row)
            return "skip"

        return pc.open_csv(
            pa.input_stream(str(path), compression="gzip" if path.suffix == ".gz" else None),
            pc.ReadOptions(block_size=_BLOCK, use_threads=False),
            pc.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
            pc.ConvertOptions(column_types=types, include_columns=list(include)),
        )

    notes: list[str] = []
    try:
        schema = open_csv({}).schema
        types = {column.name: column.type for column in schema}
        if len(types) < len(schema):
            raise DataError(f"{path} names a column twice: {schema.names}")
        roles = _roles(path, types, id_column, label_column, text_column, notes)
        first = schema.names[0]
        invalid_rows.clear()
        total = sum(batch.num_rows for batch in open_csv({first: pa.string()}, [first])) + len(invalid_rows)
    except (pa.ArrowException, *UNREADABLE) as error:
        raise DataError(f"cannot read {path} as CSV in UTF-8 with a header line: {error}") from error
    # strings stay as written ("007"), and a column that starts with integers may continue with other numbers
    column_types = {name: pa.string() for name in (roles.id, roles.label, roles.text, roles.relevance) if name}
    column_types |= {name: pa.float64() for name in roles.numbers}

    def batches() -> Iterator[Any]:
        invalid_rows.clear()
        for batch in open_csv(column_types, list(column_types)):
            yield batch
            yield from _invalid_items(invalid_rows)
        yield from _invalid_items(invalid_rows)

    return _table(path, batches, total, roles, notes)


def _invalid_items(invalid_rows: list[Any]) -> list[Item]:
    # the parser numbers records, the header is 1: this is the line in the file unless a quoted value spans lines
    items = [
        Item(f"line {row.number}", reason=f"{row.actual_columns} values, expected {row.expected_columns}")
        for row in invalid_rows
    ]
    invalid_rows.clear()
    return items


def parquet_table(path: Path, id_column: str, label_column: str | None, text_column: str | None) -> Source:
    """The rows of a Parquet file."""
    notes: list[str] = []
    try:
        with pq.ParquetFile(path) as parquet:
            types, total = {column.name: column.type for column in parquet.schema_arrow}, parquet.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a whole Parquet file ({error})") from error
    roles = _roles(path, types, id_column, label_column, text_column, notes)

    def batches() -> Iterator[Any]:
        columns = [name for name in (roles.id, roles.label, roles.text, roles.relevance, *roles.numbers) if name]
        with pq.ParquetFile(path) as parquet:
            yield from parquet.iter_batches(columns=columns)

    return _table(path, batches, total, roles, notes)


def json_lines(
    path: Path, id_column: str, label_column: str | None, text_column: str | None, where: dict[str, str]
) -> Source:
    """The records of JSON lines, also gzip, that have the values of `where`."""

    def records() -> Iterator[tuple[int, dict[str, Any] | str]]:
        with binary(path) as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    try:
                        record = json.loads(line)
                        if b"\\u" in line:
                            json.dumps(
                                record, ensure_ascii=False
                            ).encode()  # raises ValueError for half a surrogate pair
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
        raise DataError(f"{path} holds no JSON object{f' where {where}' if where else ''}; expected one per line")
    if (text_column or "text") not in first:
        raise DataError(
            f"{path} has no `{text_column or 'text'}`; it has {list(first)}; name the text column with --text-column"
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
                yield _with_relevance(item, record.get(roles.relevance) if roles.relevance else None, roles)

    return Source(
        kind="text",
        items=_checked(path, items()),
        prepare=_text,
        labelled=roles.label is not None,
        total=total,
        relevance=roles.relevance,
        notes=notes,
    )
