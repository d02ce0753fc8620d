"""Read tables as people save them: CSV with any separator and encoding that is unmistakable, and spreadsheets.

One reader for pools and for label files. Every row is kept or named: a quote that is never closed, a row of another
length or a column without a name is an error with its line in the file.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xal.core.extras import require
from xal.errors import DataError

SEPARATORS = ",;\t|"
SUFFIXES = (".csv", ".tsv", ".xlsx")
FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""How a cell begins that a spreadsheet would take for a formula, possibly defused by apostrophes."""
COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+([eE][+-]?\d+)?")
GROUPS = re.compile(r"[+-]?\d{1,3}(\.\d{3})+")
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """A table that is opened again for every pass. Rows are as long as the header."""

    path: Path
    columns: tuple[str, ...]
    separator: str
    encoding: str
    notes: tuple[str, ...] = field(default=())

    def rows(self) -> Iterator[tuple[int, list[str] | str]]:
        """(line in the file, cells) of every row that is not blank; in place of the cells, why a row cannot be read."""
        width = len(self.columns)
        for number, cells in _records(self.path, self.encoding, self.separator):
            if number == 0 or not any(cells):
                continue
            if len(cells) < width or any(cell.strip() for cell in cells[width:]):
                yield number, f"{len(cells)} values, expected {width}"
            else:
                yield number, cells[:width]


def is_table(path: Path) -> bool:
    """Whether the name is one of a CSV file or a spreadsheet."""
    name = path.name.lower()
    return name.endswith((*SUFFIXES, ".csv.gz", ".tsv.gz"))


def open_table(path: Path) -> TableFile:
    """Find a table's separator, encoding and columns; raises DataError if it is not a table with a header line."""
    encoding = _encoding(path)
    separator = _separator(path, encoding)
    header = next((cells for number, cells in _records(path, encoding, separator) if any(cells)), None)
    if header is None:
        raise DataError(f"{path} is empty; expected a table with a header line")
    names = [name.strip() for name in header]
    while names and not names[-1]:
        names.pop()
    blank = [position + 1 for position, name in enumerate(names) if not name]
    if blank:
        raise DataError(f"{path}: column {blank[0]} has no name; name every column in the header line")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path} names a column twice: {', '.join(twice)}")
    notes = []
    if encoding == "cp1252":
        notes.append("not UTF-8: read as Windows-1252; save it as UTF-8 if letters look wrong")
    if separator != "," and path.suffix.lower() not in (".tsv", ".xlsx"):
        notes.append(f"columns are separated by {'tabs' if separator == chr(9) else repr(separator)}")
    return TableFile(
        path=path,
        columns=tuple(names),
        separator=separator,
        encoding=encoding,
        notes=tuple(notes),
    )


class DecimalMarks:
    """Tells decimal commas from points, and thousands, by all cells of a table whose columns are not cut by commas.

    Where any cell has a decimal comma, points in groups of three digits (1.200) are thousands, if all points of the
    column are; else they are decimal points.
    """

    def __init__(self, columns: Sequence[str], separator: str) -> None:
        self._may_be_comma = separator != ","
        self._commas = False
        self._grouped: dict[str, bool] = {}  # by column with points: whether all its points cut groups of three
        self._columns = columns

    def look(self, column: str, cell: str) -> bool:
        """Whether the cell may hold a number; called for every cell before `number`."""
        text = cell.strip()
        if self._may_be_comma and "," in text:
            if not COMMA.fullmatch(text):
                return False
            self._commas = True
            if "." in text:
                self._grouped[column] = self._grouped.get(column, True)
            return True
        try:
            _plain(text)
        except ValueError:
            if not (self._may_be_comma and GROUPS.fullmatch(text)):
                return False
        if "." in text:
            self._grouped[column] = self._grouped.get(column, True) and bool(GROUPS.fullmatch(text))
        return True

    def number(self, column: str, cell: str) -> float:
        """The number in a cell; raises ValueError."""
        text = cell.strip()
        if self._commas and self._grouped.get(column, False):
            text = text.replace(".", "")
        return _plain(text.replace(",", ".") if self._may_be_comma else text)

    def notes(self, columns: Sequence[str]) -> list[str]:
        """What was taken for thousands."""
        grouped = [name for name in columns if self._commas and self._grouped.get(name, False)]
        return [
            f"points in {', '.join(grouped)} are thousands (1.200 is 1200), as the table has decimal commas"
        ] * bool(grouped)


def _plain(text: str) -> float:
    if "_" in text:
        raise ValueError(text)
    return float(text)


def defused(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: an apostrophe before = + - @, which `restored` removes.

    Plain numbers stay as they are.
    """
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def restored(text: str) -> str:
    """The cell that was `defused`."""
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def _records(path: Path, encoding: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(line on which the record ends, its cells); the first one is the header, at line 0."""
    if encoding == "xlsx":
        yield from _sheet(path)
        return
    csv.field_size_limit(sys.maxsize)  # the default, 128 KB, refuses long texts
    try:
        with _binary(path) as raw, io.TextIOWrapper(raw, encoding=encoding, newline="") as stream:
            reader = csv.reader(stream, delimiter=separator, strict=True)
            before, first = 0, True
            for cells in reader:
                yield (0 if first else reader.line_num), cells
                before, first = reader.line_num, first and not any(cells)
    except csv.Error as error:
        start = before + 1
        reason = "a quote that opens there is never closed" if "end of data" in str(error) else str(error)
        raise DataError(f"{path}: line {start}: {reason}; close the quote, or double quotes within a value") from error
    except (UnicodeDecodeError, OSError, EOFError) as error:
        raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def _sheet(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of the first sheet of a workbook."""
    require("openpyxl", "excel", f"reading {path.name}")
    import openpyxl

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        first = True
        for line, cells in enumerate(book.worksheets[0].iter_rows(values_only=True), 1):
            texts = ["" if cell is None else _cell(cell) for cell in cells]
            yield (0 if first else line), texts
            first = first and not any(texts)
    except (OSError, KeyError, ValueError, EOFError, IndexError) as error:
        raise DataError(f"cannot read {path} as a workbook: {error}") from error


def _cell(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _binary(path: Path) -> Any:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")


def _encoding(path: Path) -> str:
    """By the byte order mark; else UTF-8, or Windows-1252 if the bytes are not UTF-8."""
    if path.suffix.lower() == ".xlsx":
        return "xlsx"
    try:
        with _binary(path) as stream:
            head = stream.read(4)
            for mark, name in _BOMS:
                if head.startswith(mark):
                    return name
            decoders = {name: codecs.getincrementaldecoder(name)() for name in ("utf-8", "cp1252")}
            chunk = head
            while chunk or head:
                for name in list(decoders):
                    try:
                        decoders[name].decode(chunk, final=not chunk)
                    except UnicodeDecodeError:
                        del decoders[name]
                if not chunk or not decoders:
                    break
                if b"\0" in chunk:
                    raise DataError(f"{path} is not text: it holds zero bytes; save it as CSV in UTF-8")
                chunk = stream.read(1 << 20)
    except (OSError, EOFError) as error:
        raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if not decoders:
        raise DataError(f"{path} is in an unknown encoding; save it as UTF-8")
    return next(iter(decoders))


def _separator(path: Path, encoding: str) -> str:
    """The separator that occurs most often in the header line outside quotes; a comma if none does."""
    if encoding == "xlsx":
        return ","
    try:
        with _binary(path) as raw, io.TextIOWrapper(raw, encoding=encoding, newline="") as stream:
            header = next((line for line in stream if line.strip()), "")
    except (UnicodeDecodeError, OSError, EOFError) as error:
        raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    header = re.sub(r'"[^"]*"', "", header)
    return max(SEPARATORS, key=header.count)
