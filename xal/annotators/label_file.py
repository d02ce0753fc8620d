"""Read label files: CSV or JSONL with the annotators' labels and corrections."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from xal.data.label_space import LabelSpace
from xal.errors import LabelError
from xal.types import CORRECTION_KINDS

BATCH_COLUMNS = (
    "id",
    "label",
    "shown",
    "prediction",
    "confidence",
    "score",
    "reason",
    "image",
    "text",
    "features",
    "explanation",
)
"""The columns of an exported batch that are not corrections."""


@dataclass(kw_only=True)
class Answers:
    """The labels and corrections of a file, and its mistakes."""

    labels: dict[str, str] = field(default_factory=dict)
    said: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    """Corrections by id: the names of the components that are wrong, missed and against."""
    blank: int = 0
    """Rows without a label."""
    problems: list[str] = field(default_factory=list)
    """One message per mistake."""


def read_labels(path: Path, label_space: LabelSpace) -> Answers:
    """Read a CSV or JSONL with columns `id` and `label` and, for corrections, `wrong`, `missed` and `against`.

    An id may occur twice with the same answers. Raises LabelError for a file that cannot be read; mistakes in its lines
    are in `problems` of the result.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path} cannot be read: {error}") from error
    rows: list[tuple[int, object]] = []
    answers = Answers()
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    rows.append((number, json.loads(line)))
                except json.JSONDecodeError as error:
                    answers.problems.append(f"line {number}: not JSON ({error.msg})")
    elif path.suffix.lower() == ".csv":
        rows = list(enumerate(csv.DictReader(text.splitlines()), 2))
    else:
        raise LabelError(f"{path}: expected a .csv or .jsonl file with columns id and label")
    columns = {str(name) for _, row in rows if isinstance(row, Mapping) for name in row}
    for name in sorted(columns - {*CORRECTION_KINDS, *BATCH_COLUMNS}):
        if close := get_close_matches(name.strip().lower(), CORRECTION_KINDS, n=1, cutoff=0.75):
            answers.problems.append(f"column '{name}'; did you mean '{close[0]}'?")
    for number, row in rows:
        if not isinstance(row, Mapping) or row.get("id") in (None, "") or "label" not in row:
            answers.problems.append(f"line {number}: needs both `id` and `label`")
            continue
        _add(answers, number, row, label_space)
    return answers


def _add(answers: Answers, number: int, row: Mapping[Any, Any], label_space: LabelSpace) -> None:
    """Add the label and correction of a row, or its mistake. number: of the line in the file."""
    item, label = str(row["id"]), str(row["label"] or "").strip()
    correction = {name: _component_names(row.get(name)) for name in CORRECTION_KINDS}
    if not label:
        answers.blank += 1
        if any(correction.values()):
            answers.problems.append(f"line {number}: '{item}' has a correction and no label; give both")
    elif reason := label_space.problem(label):
        answers.problems.append(f"line {number}: {reason}")
    elif answers.labels.setdefault(item, label) != label:
        answers.problems.append(
            f"line {number}: '{item}' is '{answers.labels[item]}' on an earlier line, now '{label}'"
        )
    elif answers.said.setdefault(item, correction) != correction:
        answers.problems.append(f"line {number}: '{item}' conflicts with the correction on an earlier line")


def _component_names(value: object) -> tuple[str, ...]:
    """The component names in a cell: a JSON list, or text separated by `;`."""
    parts = value if isinstance(value, list) else [] if value is None else str(value).split(";")
    return tuple(name for name in (str(part).strip() for part in parts if part is not None) if name)
