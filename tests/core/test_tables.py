"""Tables as people save them."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xal.core.tables import DecimalMarks, defused, is_table, open_table, restored
from xal.errors import DataError

ROWS = [["1", "a, b", "x"], ["2", 'say "hi"', "é"]]


def saved(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("separator", "encoding", "noted"),
    [
        (",", "utf-8", []),
        (",", "utf-8-sig", []),
        (";", "utf-8", ["separated"]),
        ("\t", "utf-16", ["tabs"]),
        (";", "cp1252", ["Windows-1252", "separated"]),
    ],
)
def test_separators_and_encodings(tmp_path: Path, separator: str, encoding: str, noted: list[str]) -> None:
    quoted = [
        separator.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in [["id", "text ", "l"], *ROWS]
    ]
    table = open_table(saved(tmp_path / "t.csv", "\r\n".join(quoted) + "\r\n", encoding))
    assert table.columns == ("id", "text", "l")
    assert [cells for _, cells in table.rows()] == ROWS
    assert all(any(word in note for note in table.notes) for word in noted) and len(table.notes) == len(noted)


def test_gzip_and_names(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"id,l\n1,a\n"))
    assert [cells for _, cells in open_table(tmp_path / "t.csv.gz").rows()] == [["1", "a"]]
    assert is_table(Path("A.XLSX")) and is_table(Path("b.tsv.gz")) and not is_table(Path("c.jsonl"))


def test_a_workbook(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["id", "label", None], [7, "cat", None], ["008", None, None], [None, None, None]):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    assert list(open_table(tmp_path / "t.xlsx").rows()) == [(2, ["7", "cat"]), (3, ["008", ""])]


def test_the_rows_that_spreadsheets_add_are_no_rows(tmp_path: Path) -> None:
    path = saved(tmp_path / "t.csv", "id,label,,\n1,a,,\n\n,,,\n2,b\n3\n4,a,b\n,,,\n")
    assert list(open_table(path).rows()) == [
        (2, ["1", "a"]),
        (5, ["2", "b"]),
        (6, "1 values, expected 2"),
        (7, "3 values, expected 2"),
    ]


def test_lines_are_those_of_the_file_and_cells_keep_their_line_ends(tmp_path: Path) -> None:
    long = "x" * 200_000
    path = saved(tmp_path / "t.csv", f'id,t\n1,"a\nb\x0c\u2028c"\n2,{long}\n')
    assert list(open_table(path).rows()) == [(3, ["1", "a\nb\x0c\u2028c"]), (4, ["2", long])]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('id,t\n1,"open\n2,b\n', "line 2: a quote that opens there is never closed"),
        ('id,t\n1,"a"b\n', "line 2: "),
        ("", "is empty"),
        ("id,id\n", "names a column twice: id"),
        ("id,,t\n1,2,3\n", "column 2 has no name"),
        ("id\n1\0\n", "zero bytes"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(open_table(saved(tmp_path / "t.csv", text)).rows())


@pytest.mark.parametrize(
    ("separator", "cells", "numbers"),
    [
        (",", ["1.5", "-2e3"], [1.5, -2000]),
        (";", ["1,5", "2"], [1.5, 2]),
        (";", ["1.200", "1.201"], [1.2, 1.201]),  # no comma anywhere: decimal points
        (";", ["1.200,5", "1.300"], [1200.5, 1300]),
        (";", ["1,5", "1.25"], [1.5, 1.25]),  # no group of three: a decimal point
        ("\t", ["1.234.567", "0,5"], [1234567, 0.5]),
    ],
)
def test_numbers(separator: str, cells: list[str], numbers: list[float]) -> None:
    marks = DecimalMarks(["x"], separator)
    assert all(marks.look("x", cell) for cell in cells)
    assert [marks.number("x", cell) for cell in cells] == numbers


def test_what_is_no_number() -> None:
    for separator, cell in ((",", "1,5"), (",", "1_000"), (";", "1_000"), (";", "1,2,3"), (";", "a"), (",", "1.2.3")):
        assert not DecimalMarks(["x"], separator).look("x", cell), cell


@given(st.text())
def test_what_is_defused_is_no_formula_and_comes_back(text: str) -> None:
    assert restored(defused(text)) == text
    assert not defused(text).startswith(("=", "+", "-", "@", "\t", "\r"))
