"""Table sources of a pool: CSV, spreadsheet or Parquet with a text or columns of numbers, JSON lines with a text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from xal.core import hashed_words, tables
from xal.data.build.source import UNREADABLE, Item, Source, binary
from xal.data.pool import RELEVANCE_COLUMNS
from xal.errors import DataError

EXACT = 2**24
"""Integers up to this are exact as 32-bit floats."""
ROUNDING = 1e-6
"""Relative error of rounding to 32-bit floats that is worth a word: ten times the usual one."""


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
    id_column = _spelled(id_column, types)
    label_column = None if label_column is None else _spelled(label_column, types)
    for name, default in ((id_column, "id"), (label_column, "label"), (text_column, None)):
        if name is not None and name != default and name not in types:
            raise DataError(f"{path} has no column `{name}`; it has {list(types)}")
    identity = id_column if id_column in types else None
    if identity is None:
        notes.append(f"no column `{id_column}`: the row number, from 0, is the id")
    label = label_column if label_column in types else None
    text = text_column or next((name for name in (_spelled("text", types),) if name in types), None)
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
            "leave out such columns with --drop, or name the text with --text-column; the header must be the first line"
        )
    return _Roles(identity, label, None, tuple(rest), relevance)


def _spelled(name: str, types: dict[str, Any]) -> str:
    """The column of that name, in other capitals if there is exactly one of those; else the name."""
    alike = [column for column in types if column.lower() == name.lower()]
    return alike[0] if name not in types and len(alike) == 1 else name


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


def _source(path: Path, items: Iterator[Item], total: int, roles: _Roles, notes: list[str]) -> Source:
    return Source(
        kind="text" if roles.text else "features",
        items=_checked(path, items),
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


def _dropped(path: Path, types: dict[str, Any], drop: Sequence[str]) -> dict[str, Any]:
    """The columns without those to drop; DataError for a name that is not there."""
    unknown = [name for name in drop if name not in types]
    if unknown:
        raise DataError(f"{path} has no column `{unknown[0]}` to drop; it has {list(types)}")
    return {name: kind for name, kind in types.items() if name not in drop}


def csv_table(
    path: Path, id_column: str, label_column: str | None, text_column: str | None, drop: Sequence[str] = ()
) -> Source:
    """The rows of a CSV file or spreadsheet with a header line; see `xal.core.tables`."""
    table = tables.open_table(path)
    notes = [*table.notes]
    total, numeric = 0, dict.fromkeys(table.columns, True)
    filled = dict.fromkeys(table.columns, False)
    marks = tables.DecimalMarks(table.columns, table.separator)
    for _, cells in table.rows():
        total += 1
        if isinstance(cells, str):
            continue
        for name, cell in zip(table.columns, cells, strict=True):
            filled[name] = filled[name] or bool(cell.strip())
            numeric[name] = numeric[name] and (not cell.strip() or marks.look(name, cell))
    types = {name: pa.float64() if numeric[name] and filled[name] else pa.string() for name in table.columns}
    roles = _roles(path, _dropped(path, types, drop), id_column, label_column, text_column, notes)
    position = {name: index for index, name in enumerate(table.columns)}
    notes.extend(marks.notes(roles.numbers))
    lossy = _Rounding(roles.numbers)

    def items() -> Iterator[Item]:
        digits, row = len(str(max(total - 1, 0))), 0
        for line, cells in table.rows():
            if isinstance(cells, str):
                yield Item(f"line {line}", reason=cells)
                continue

            def cell(name: str | None, cells: list[str] = cells) -> str | None:
                return None if name is None else cells[position[name]]

            name = f"{row:0{digits}d}" if roles.id is None else cell(roles.id)
            row += 1
            if not name:
                yield Item(f"line {line}", reason="no id")
                continue
            raw: Any = cell(roles.text)
            if not roles.text:
                values = [marks.number(each, cell(each) or "nan") for each in roles.numbers]
                raw = lossy.round(np.array([values], np.float64))[0].tobytes()
            yield _with_relevance(Item(name, raw, cell(roles.label)), cell(roles.relevance), roles)
        notes.extend(lossy.notes())

    return _source(path, items(), total, roles, notes)


class _Rounding:
    """Rounds numbers to float32, and says which columns lose by it what tells their rows apart."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names, self._lost = names, np.zeros(len(names), np.int64)

    def round(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """(b, d) float32 of (b, d) float64."""
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = values.astype(np.float32)
            self._lost += (np.abs(rounded - values) > ROUNDING * np.maximum(np.abs(values), 1e-30)).sum(axis=0)
            integers = (np.abs(values) > EXACT) & (values == np.round(values)) & (rounded != values)
            self._lost += integers.sum(axis=0)
        return rounded

    def notes(self) -> list[str]:
        """A note for each column whose numbers are too large for float32."""
        return [
            f"column {name}: {lost} numbers lose digits as 32-bit floats, which may tell rows apart; subtract an "
            "offset (times: from the first)"
            for name, lost in zip(self.names, self._lost, strict=True)
            if lost
        ]


def parquet_table(
    path: Path, id_column: str, label_column: str | None, text_column: str | None, drop: Sequence[str] = ()
) -> Source:
    """The rows of a Parquet file."""
    notes: list[str] = []
    try:
        with pq.ParquetFile(path) as parquet:
            types, total = {column.name: column.type for column in parquet.schema_arrow}, parquet.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a whole Parquet file ({error})") from error
    roles = _roles(path, _dropped(path, types, drop), id_column, label_column, text_column, notes)
    lossy = _Rounding(roles.numbers)

    def items() -> Iterator[Item]:
        columns = [name for name in (roles.id, roles.label, roles.text, roles.relevance, *roles.numbers) if name]
        row, digits = 0, len(str(max(total - 1, 0)))
        with pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches(columns=columns):
                nones = [None] * batch.num_rows
                ids = batch.column(roles.id).cast(pa.string()).to_pylist() if roles.id else nones
                labels = batch.column(roles.label).cast(pa.string()).to_pylist() if roles.label else nones
                if roles.text:
                    raws = batch.column(roles.text).to_pylist()
                else:
                    numbers = [batch.column(name).cast(pa.float64(), safe=False) for name in roles.numbers]
                    matrix = np.column_stack([column.to_numpy(zero_copy_only=False) for column in numbers])
                    raws = [values.tobytes() for values in lossy.round(matrix)]
                relevances = batch.column(roles.relevance).to_pylist() if roles.relevance else nones
                for identity, raw, label, relevance in zip(ids, raws, labels, relevances, strict=True):
                    name = f"{row:0{digits}d}" if roles.id is None else identity
                    row += 1
                    if name:
                        yield _with_relevance(Item(name, raw, label), relevance, roles)
                    else:
                        yield Item(f"row {row - 1}", reason="no id")
        notes.extend(lossy.notes())

    return _source(path, items(), total, roles, notes)


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
        total = 0
        keys: dict[str, Any] = {}
        for _, record in records():
            total += 1
            if isinstance(record, dict):
                keys |= dict.fromkeys(record)  # the first record need not have all
    except UNREADABLE as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if not keys:
        raise DataError(f"{path} holds no JSON object{f' where {where}' if where else ''}; expected one per line")
    if _spelled(text_column or "text", keys) not in keys:
        raise DataError(
            f"{path} has no `{text_column or 'text'}`; it has {list(keys)}; name the text column with --text-column"
        )
    roles = _roles(path, keys, id_column, label_column, text_column, notes)

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

    return _source(path, items(), total, replace(roles, text=roles.text or "text"), notes)
