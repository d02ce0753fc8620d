"""Label files: a CSV or JSONL comes back from the annotators, and is taken whole or not at all."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from xal.component import nearest
from xal.errors import LabelError, RunError
from xal.store.directory import held, is_run


def import_labels(directory: Path, file: Path, annotator: str) -> tuple[int, int]:
    """Take labels for a run from a CSV or JSONL, all or none. Returns (new labels, labels still waited for).

    Raises LabelError that lists every mistake.
    """
    if not is_run(directory):
        raise RunError(f"{directory} is not a run directory: it has no ledger")
    with held(directory) as ledger:
        labels, _, problems = read_labels(file, yaml.safe_load(ledger.fact("classes") or "[]"))
        problems += ledger.label_problems(labels)
        if problems:
            raise LabelError(
                f"{file}: {len(problems)} problems, nothing was imported\n"
                + "\n".join(f"  - {problem}" for problem in problems)
            )
        new = ledger.add_labels(labels, annotator)
        return new, sum(item.label is None for item in ledger.queried())


def read_labels(path: Path, classes: Sequence[str]) -> tuple[dict[str, str], int, list[str]]:
    """(labels by id, rows left blank, what is wrong) of a CSV or JSONL with columns `id` and `label`.

    An id given twice with the same label is no mistake. Raises LabelError for a file that cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path} cannot be read: {error}") from error
    rows: list[tuple[int, object]] = []
    problems: list[str] = []
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    rows.append((number, json.loads(line)))
                except json.JSONDecodeError as error:
                    problems.append(f"line {number}: not JSON ({error.msg})")
    elif path.suffix.lower() == ".csv":
        rows = list(enumerate(csv.DictReader(text.splitlines()), 2))
    else:
        raise LabelError(f"{path}: expected a .csv or .jsonl file with columns id and label")
    labels: dict[str, str] = {}
    blank = 0
    for number, row in rows:
        if not isinstance(row, Mapping) or row.get("id") in (None, "") or "label" not in row:
            problems.append(f"line {number}: needs both `id` and `label`")
            continue
        item, label = str(row["id"]), str(row["label"] or "").strip()
        if not label:
            blank += 1
        elif label not in classes:
            problems.append(f"line {number}: '{label}' is not a class{nearest(label, classes)}")
        elif labels.setdefault(item, label) != label:
            problems.append(f"line {number}: '{item}' is '{labels[item]}' further up, now '{label}'")
    return labels, blank, problems
