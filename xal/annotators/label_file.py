"""Label files: a CSV or JSONL that comes back from the annotators."""

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

GIVEN = (
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
"""Other columns of a batch."""


@dataclass(kw_only=True)
class Answers:
    """What a file says, and what is wrong with it."""

    labels: dict[str, str] = field(default_factory=dict)
    said: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    """By id, the names of components: wrong, missed, against."""
    blank: int = 0
    """Rows without a label."""
    problems: list[str] = field(default_factory=list)


def read_labels(path: Path, label_space: LabelSpace) -> Answers:
    """Of a CSV or JSONL with columns `id` and `label` and, for corrections, `wrong`, `missed` and `against`.

    An id given twice with the same answers is no mistake. Raises LabelError for a file that cannot be read.
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
    for name in sorted(columns - {*CORRECTION_KINDS, *GIVEN}):
        if meant := get_close_matches(name.strip().lower(), CORRECTION_KINDS, n=1, cutoff=0.75):
            answers.problems.append(f"column '{name}'; did you mean '{meant[0]}'?")
    for number, row in rows:
        if not isinstance(row, Mapping) or row.get("id") in (None, "") or "label" not in row:
            answers.problems.append(f"line {number}: needs both `id` and `label`")
            continue
        _take(answers, number, row, label_space)
    return answers


def _take(answers: Answers, number: int, row: Mapping[Any, Any], label_space: LabelSpace) -> None:
    item, label = str(row["id"]), str(row["label"] or "").strip()
    said = {name: _listed(row.get(name)) for name in CORRECTION_KINDS}
    if not label:
        answers.blank += 1
        if any(said.values()):
            answers.problems.append(f"line {number}: '{item}' has a correction and no label; give both")
    elif reason := label_space.problem(label):
        answers.problems.append(f"line {number}: {reason}")
    elif answers.labels.setdefault(item, label) != label:
        answers.problems.append(
            f"line {number}: '{item}' is '{answers.labels[item]}' on an earlier line, now '{label}'"
        )
    elif answers.said.setdefault(item, said) != said:
        answers.problems.append(f"line {number}: '{item}' conflicts with the correction on an earlier line")


def _listed(value: object) -> tuple[str, ...]:
    """Names of components: a JSON list, or text with `;` between them."""
    parts = value if isinstance(value, list) else [] if value is None else str(value).split(";")
    return tuple(name for name in (str(part).strip() for part in parts if part is not None) if name)
