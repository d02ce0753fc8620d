"""Read label files: CSV, spreadsheet or JSONL with the annotators' labels and corrections."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from xal.core.tables import is_table, open_table, restored
from xal.data.label_space import LabelSpace
from xal.errors import DataError, LabelError
from xal.types import CORRECTION_KINDS

BATCH_COLUMNS = (
    "rank",
    "id",
    "label",
    "shown",
    "prediction",
    "confidence",
    "score",
    "reason",
    "because",
    "image",
    "text",
    "features",
    "explanation",
)
"""The columns of an exported batch that are not corrections."""


NO_LABEL = {"skip": "skip", "unsure": "unsure", "none": "none", "none of these": "none"}
"""Answers in the place of a label, unless a class has that name: the item leaves the batch without a label."""


@dataclass(kw_only=True)
class Answers:
    """The labels and corrections of a file, and its mistakes."""

    labels: dict[str, str] = field(default_factory=dict)
    corrections: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    """Corrections by id: the names of the components that are wrong, missed and against."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Answers that are no label, by id: skip, unsure or none."""
    blank: int = 0
    """Rows without a label."""
    problems: list[str] = field(default_factory=list)
    """One message per mistake."""
    ids: frozenset[str] = frozenset()
    """The queried items."""


def read_labels(path: Path, label_space: LabelSpace, ids: Iterable[str] = ()) -> Answers:
    """Read a CSV, spreadsheet or JSONL: columns `id`, `label` and, for corrections, `wrong`, `missed` and `against`.

    An id may occur twice with the same answers. ids: of the items that were queried. Raises LabelError for a file that
    cannot be read; mistakes in its lines are in `problems` of the result.
    """
    answers = Answers(ids=frozenset(ids))
    rows: list[tuple[int, object]] = []
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        rows = _json_lines(path, answers)
    elif is_table(path):
        rows = _table(path, answers)
    else:
        raise LabelError(f"{path}: expected a .csv, .tsv, .xlsx or .jsonl file with columns id and label")
    rows = [(number, _lower_names(row) if isinstance(row, Mapping) else row) for number, row in rows]
    columns = {str(name) for _, row in rows if isinstance(row, Mapping) for name in row}
    if rows and not {"id", "label"} <= columns and not answers.problems:
        raise LabelError(f"{path}: expected the columns id and label, got {', '.join(sorted(columns)) or 'none'}")
    for name in sorted(columns - {*CORRECTION_KINDS, *BATCH_COLUMNS}):
        if close := get_close_matches(name.strip().lower(), CORRECTION_KINDS, n=1, cutoff=0.75):
            answers.problems.append(f"column '{name}'; did you mean '{close[0]}'?")
    for number, row in rows:
        if not isinstance(row, Mapping) or row.get("id") in (None, "") or "label" not in row:
            answers.problems.append(f"line {number}: needs both `id` and `label`")
            continue
        _add(answers, number, row, label_space)
    return answers


def _lower_names(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The row with the names that we know in lower case, unless both spellings are there."""
    known = ("id", "label")
    return {
        str(name).lower() if str(name).lower() in known and str(name).lower() not in row else str(name): value
        for name, value in row.items()
    }


def _json_lines(path: Path, answers: Answers) -> list[tuple[int, object]]:
    """(line, record) of a JSONL file, of which only \\n ends a line."""
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LabelError(f"{path} cannot be read: {reason}") from error
    rows: list[tuple[int, object]] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                rows.append((number, json.loads(line, object_pairs_hook=_distinct)))
            except ValueError as error:
                reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                answers.problems.append(f"line {number}: not JSON ({reason})")
    return rows


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs of a JSON object; ValueError for a key that comes twice."""
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise ValueError(f"the key '{next(key for key in keys if keys.count(key) > 1)}' comes twice")
    return dict(pairs)


def _table(path: Path, answers: Answers) -> list[tuple[int, object]]:
    """(line, {column: cell}) of a table; cells that were defused for spreadsheets are restored."""
    try:
        table = open_table(path)
        rows: list[tuple[int, object]] = []
        for number, cells in table.rows():
            if isinstance(cells, str):
                answers.problems.append(f"line {number}: {cells}")
            else:
                rows.append((number, dict(zip(table.columns, map(restored, cells), strict=True))))
    except DataError as error:
        raise LabelError(str(error)) from error
    return rows


def _add(answers: Answers, number: int, row: Mapping[Any, Any], label_space: LabelSpace) -> None:
    """Add the label and correction of a row, or its mistake. number: of the line in the file."""
    item, label = _as_id(row["id"], answers.ids), _as_label(row["label"])
    correction = {name: _component_names(row.get(name)) for name in CORRECTION_KINDS}
    if not label:
        answers.blank += 1
        if any(correction.values()):
            answers.problems.append(f"line {number}: '{item}' has a correction and no label; give both")
    elif label not in label_space and label.lower() in NO_LABEL:
        answer = NO_LABEL[label.lower()]
        if any(correction.values()):
            answers.problems.append(f"line {number}: '{item}' has a correction and no label; give both")
        elif item in answers.labels or answers.left_out.setdefault(item, answer) != answer:
            answers.problems.append(f"line {number}: '{item}' has another answer on an earlier line")
    elif item in answers.left_out:
        answers.problems.append(f"line {number}: '{item}' has another answer on an earlier line")
    elif reason := label_space.problem(label):
        answers.problems.append(f"line {number}: {reason}")
    elif answers.labels.setdefault(item, label) != label:
        answers.problems.append(
            f"line {number}: '{item}' is '{answers.labels[item]}' on an earlier line, now '{label}'"
        )
    elif answers.corrections.setdefault(item, correction) != correction:
        answers.problems.append(f"line {number}: '{item}' conflicts with the correction on an earlier line")


def _as_label(value: object) -> str:
    """The label in a cell: None and blanks are no label, 0 and false are labels."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value).strip()


def _as_id(value: object, ids: frozenset[str]) -> str:
    """The queried id that a cell means, else the cell as it is.

    Spreadsheets drop leading zeros: 7 is 007 if that is the only queried id of this number. Some read UTF-8 as
    Windows-1252: such letters are read back.
    """
    item = str(value)
    if item in ids:
        return item
    if item.isascii() and item.isdecimal():
        padded = [each for each in ids if each.isascii() and each.isdecimal() and each.lstrip("0") == item.lstrip("0")]
        return padded[0] if len(padded) == 1 else item
    with suppress(UnicodeError):
        read_back = item.encode("cp1252").decode("utf-8")
        return read_back if read_back in ids else item
    return item


def _component_names(value: object) -> tuple[str, ...]:
    """The component names in a cell: a JSON list, or text separated by `;`."""
    parts = value if isinstance(value, list) else [] if value is None else str(value).split(";")
    return tuple(name for name in (str(part).strip() for part in parts if part is not None) if name)
