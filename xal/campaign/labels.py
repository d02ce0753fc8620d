"""Label files: a CSV or JSONL comes back from the annotators, and is taken whole or not at all."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from xal.campaign.annotators import explanations_in
from xal.campaign.recipe import PoolSection
from xal.component import nearest
from xal.config import parse
from xal.data.payloads import payload_of
from xal.data.pool import KINDS, Pool
from xal.errors import DataError, LabelError, RunError
from xal.feedback import Feedback
from xal.feedback.components import Mask, Naming, mask_of, shown_components
from xal.models.model import Shape
from xal.store.artefacts import ITEMS, read_items
from xal.store.directory import held, is_run
from xal.store.ledger import Ledger
from xal.types import SAID, Correction

GIVEN = ("id", "label", "shown", "prediction", "confidence", "score", "why", "image", "text", "features", "explanation")
"""Other columns of a batch."""
Named = tuple[str, str]
"""An item, and what one of its components is called."""


@dataclass(kw_only=True)
class Answers:
    """What a file says, and what is wrong with it."""

    labels: dict[str, str] = field(default_factory=dict)
    said: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    """By id, the names of components: wrong, missed, against."""
    blank: int = 0
    """Rows without a label."""
    problems: list[str] = field(default_factory=list)


def import_labels(directory: Path, file: Path, annotator: str) -> tuple[int, int]:
    """Take labels, and corrections, for a run from a CSV or JSONL, all or none. Returns (new labels, still waited for).

    Raises LabelError that lists every mistake.
    """
    if not is_run(directory):
        raise RunError(f"{directory} is not a run directory: it has no ledger")
    with held(directory) as ledger:
        answers = read_labels(file, yaml.safe_load(ledger.fact("classes") or "[]"))
        problems = answers.problems + ledger.label_problems(answers.labels)
        corrections, more = _corrections(directory, ledger, answers)
        problems += more + ledger.correction_problems(corrections)
        if problems:
            raise LabelError(
                f"{file}: {len(problems)} problem{'s' * (len(problems) > 1)}, nothing was imported\n"
                + "\n".join(f"  - {problem}" for problem in problems)
            )
        new = ledger.add_labels(answers.labels, annotator, corrections)
        return new, sum(item.label is None for item in ledger.queried())


def read_labels(path: Path, classes: Sequence[str]) -> Answers:
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
    for name in sorted(columns - {*SAID, *GIVEN}):
        if meant := get_close_matches(name.strip().lower(), SAID, n=1, cutoff=0.75):
            answers.problems.append(f"column '{name}'; did you mean '{meant[0]}'?")
    for number, row in rows:
        if not isinstance(row, Mapping) or row.get("id") in (None, "") or "label" not in row:
            answers.problems.append(f"line {number}: needs both `id` and `label`")
            continue
        _take(answers, number, row, classes)
    return answers


def _take(answers: Answers, number: int, row: Mapping[Any, Any], classes: Sequence[str]) -> None:
    item, label = str(row["id"]), str(row["label"] or "").strip()
    said = {name: _listed(row.get(name)) for name in SAID}
    if not label:
        answers.blank += 1
        if any(said.values()):
            answers.problems.append(f"line {number}: '{item}' has a correction and no label; give both")
    elif label not in classes:
        answers.problems.append(f"line {number}: '{label}' is not a class{nearest(label, classes)}")
    elif answers.labels.setdefault(item, label) != label:
        answers.problems.append(f"line {number}: '{item}' is '{answers.labels[item]}' further up, now '{label}'")
    elif answers.said.setdefault(item, said) != said:
        answers.problems.append(f"line {number}: '{item}' is corrected otherwise further up")


def _listed(value: object) -> tuple[str, ...]:
    """Names of components: a JSON list, or text with `;` between them."""
    parts = value if isinstance(value, list) else [] if value is None else str(value).split(";")
    return tuple(name for name in (str(part).strip() for part in parts if part is not None) if name)


def _corrections(directory: Path, ledger: Ledger, answers: Answers) -> tuple[dict[str, Correction], list[str]]:
    """(corrections by id, what is wrong): names become components of what was shown."""
    said = {item: names for item, names in answers.said.items() if any(names.values())}
    if not said:
        return {}, []
    recipe = yaml.safe_load(ledger.fact("recipe") or "{}")
    if not recipe.get("feedback"):
        return {}, [f"{len(said)} corrections, but the run's recipe asks for none (feedback); leave the columns empty"]
    feedback: Feedback = parse(Feedback, recipe["feedback"])
    columns = yaml.safe_load(ledger.fact("names") or "[]")
    shape = tuple(yaml.safe_load(ledger.fact("shape") or "[]"))
    corrections: dict[str, Correction] = {}
    problems: list[str] = []
    masks: dict[Named, Mask] = {}
    rounds = {item.id: item.round for item in ledger.queried()}
    for round in sorted({rounds[item] for item in said if item in rounds}):
        artefact = directory / f"round-{round:03d}" / "query"
        table = read_items(artefact / ITEMS)
        kind = next(kind for kind in KINDS if kind in table.column_names)
        payload, _ = payload_of(table[kind], kind, shape)
        explained = explanations_in(artefact)
        for item, each in zip(table["id"].to_pylist(), payload, strict=True):
            if item not in said:
                continue
            explanation = explained.get(item)
            if explanation is None and feedback.shown is not None:
                problems.append(f"'{item}': no explanation of it was shown, so there is nothing to correct")
                continue
            k = feedback.shown_to_people
            shown = None if k is None or explanation is None else shown_components(explanation, k)
            naming = Naming(each, explanation, columns)
            found, wrong = _numbers(item, said[item], naming, shown, feedback)
            problems += wrong
            corrections[item] = found
            if feedback.takes_values(kind):
                size = feedback.together if len(shape) == 1 else 1
                for one in found.wrong:
                    whole = range(one // size * size, one // size * size + size)
                    masks[item, naming.name(one)] = mask_of(whole, shape, explanation)
    problems += [
        f"'{item}': wrong: '{name}' is the same in all items of the pool, so {feedback.name} cannot change it; leave "
        "it out, or begin a run with another feedback"
        for item, name in (_never_changing(parse(PoolSection, recipe["pool"]), shape, masks) if masks else ())
    ]
    return corrections, problems


def _never_changing(section: PoolSection, shape: Shape, masks: Mapping[Named, Mask]) -> list[Named]:
    """As `constants`; none where the pool is out of reach from here: training leaves such corrections out."""
    try:
        pool = section.open()
    except DataError:
        return []
    return constants(pool, shape, masks)


def constants(pool: Pool, shape: Shape, masks: Mapping[Named, Mask]) -> list[Named]:
    """Of which parts, (h, w) or (d,) masks, all items of the pool have the same; reads on until none is left."""
    left, first = dict(masks), None
    for _, table in pool.scan([pool.kind]):
        payload, good = payload_of(table[pool.kind], pool.kind, shape)
        known = payload[good]
        if not len(known):
            continue
        first = known[:1] if first is None else first
        differs = (known != first).any(axis=0)
        differs = differs.any(axis=0) if differs.ndim == 3 else differs
        left = {name: mask for name, mask in left.items() if not (differs & mask).any()}
        if not left:
            break
    return list(left)


def _numbers(
    item: str, said: Mapping[str, Sequence[str]], naming: Naming, shown: Sequence[int] | None, feedback: Feedback
) -> tuple[Correction, list[str]]:
    problems = []
    numbers: dict[str, list[int]] = {name: [] for name in SAID}
    for name, components in said.items():
        if components and name not in feedback.asks:
            problems.append(f"'{item}': {name}: {feedback.name} learns from {', '.join(feedback.asks)}; leave it empty")
            continue
        for component in components:
            number = naming.number(component)
            if number is None:
                meant = get_close_matches(component, naming.names, n=1, cutoff=0.7)
                there = ", ".join(naming.name(each) for each in shown or ())
                hint = f"; did you mean '{meant[0]}'?" if meant else f"; shown: {there}" if there else ""
                problems.append(f"'{item}': {name}: it has no component '{component}'{hint}")
            elif name == "wrong" and shown is not None and number not in shown:
                there = ", ".join(naming.name(each) for each in shown) or "nothing"
                problems.append(f"'{item}': wrong: '{component}' was not shown as relevant; shown: {there}")
            else:
                numbers[name].append(number)
    spoken = [number for each in numbers.values() for number in each]
    twice = sorted({naming.name(number) for number in spoken if spoken.count(number) > 1})
    if twice:
        problems.append(f"'{item}': said twice of {', '.join(twice)}")
    return Correction(**{name: tuple(sorted(each)) for name, each in numbers.items()}), problems
