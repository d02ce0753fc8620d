"""Import labels and corrections from a CSV or JSONL file into a run: all of the file, or nothing."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from xal.annotators.label_file import Answers, read_labels
from xal.campaign.identity import add_classes, label_space_of
from xal.campaign.pools import open_pool
from xal.campaign.recipe import PoolSection
from xal.core.config import parse
from xal.core.imports import check_stored
from xal.data.decode import forms_of, payload_of
from xal.data.pool import KINDS, Pool
from xal.errors import DataError, LabelError, RunError
from xal.explainers.components import Mask, Naming, mask_of, shown_components
from xal.feedback import Feedback
from xal.store.artefacts import GIVEN, ITEMS, explanations_in, read_items, write_items
from xal.store.atomic import writing
from xal.store.directory import held, is_run, step_folder
from xal.store.ledger import Ledger, Queried
from xal.types import CORRECTION_KINDS, Correction, Shape

Named = tuple[str, str]
"""(item id, name of one of its components)."""


class Imported(NamedTuple):
    """What a label file brought."""

    new: int
    """Answers that are new or another than before."""
    waiting: int
    """Queried items that still have no answer."""
    changed: int = 0
    """Labels that superseded an earlier one."""
    left_out: int = 0
    """Items that get no label: skip, unsure or none."""
    unasked: int = 0
    """Labels of items that were not queried."""
    blank: int = 0
    """Rows without a label."""
    new_classes: tuple[tuple[str, str | None], ...] = ()
    """Classes that the labels added, each with an older class that is spelled alike."""

    def __str__(self) -> str:
        parts = [f"{self.new - self.changed - self.left_out} new labels imported"]
        parts += [f"of which {self.unasked} of items that were not queried"] * bool(self.unasked)
        parts += [f"{self.changed} changed"] * bool(self.changed)
        parts += [f"{self.left_out} left out (skip, unsure or none)"] * bool(self.left_out)
        parts += [f"{self.blank} rows have no label"] * bool(self.blank)
        return ", ".join(parts)


def import_labels(directory: Path, file: Path, annotator: str, correct: bool = False) -> Imported:
    """Import a CSV, spreadsheet or JSONL file.

    Items of the pool that were not queried may have labels, too. correct: a label that differs from an earlier one
    supersedes it; both are kept, and the later counts.

    Raises RunError for a directory that is not a run, LabelError that lists every mistake in the file.
    """
    if not is_run(directory):
        raise RunError(f"{directory} is not a run directory: it has no ledger")
    with held(directory) as ledger:
        classes = label_space_of(ledger).classes
        before = {item.id: item for item in ledger.queried()}
        answers = read_labels(file, label_space_of(ledger), before)
        new = take_answers(directory, ledger, answers, str(file), annotator, correct)
        after = ledger.queried()
        earlier = {item: entry.label for item, entry in before.items()}
        return Imported(
            new=new,
            waiting=sum(item.waits for item in after),
            changed=sum(earlier.get(item) not in (None, label) for item, label in answers.labels.items()),
            left_out=sum(
                item in before and before[item].left_out != answer for item, answer in answers.left_out.items()
            ),
            unasked=sum(item.id not in before for item in after),
            blank=answers.blank,
            new_classes=tuple(
                (name, next(iter(get_close_matches(name, classes, n=1, cutoff=0.75)), None))
                for name in label_space_of(ledger).classes[len(classes) :]
            ),
        )


def take_answers(
    directory: Path, ledger: Ledger, answers: Answers, source: str, annotator: str, correct: bool = False
) -> int:
    """Write labels and corrections to the ledger, all or none; returns the number of new answers.

    source: names the answers in error messages. Raises LabelError that lists every mistake.
    """
    queried = {item.id for item in ledger.queried()}
    given, problems = _given_items(ledger, [item for item in answers.labels if item not in queried])
    labels = {item: label for item, label in answers.labels.items() if item in queried}
    problems = answers.problems + problems + ledger.label_problems(labels, correct)
    problems += ledger.left_out_problems(answers.left_out, correct)
    corrections, correction_problems = _corrections(directory, ledger, answers)
    problems += correction_problems + ledger.correction_problems(corrections)
    if problems:
        raise LabelError(
            f"{source}: {len(problems)} problem{'s' * (len(problems) > 1)}, nothing was imported\n"
            + "\n".join(f"  - {problem}" for problem in problems)
        )
    add_classes(ledger, answers.labels.values())
    if given is not None:
        with writing(directory, f"{GIVEN}-{uuid.uuid4().hex[:8]}") as folder:
            write_items(folder / ITEMS, given)
        ledger.add_given(
            _as_queried(ledger, given), {item: answers.labels[item] for item in given["id"].to_pylist()}, annotator
        )
    new = ledger.add_labels(labels, annotator, corrections, left_out=answers.left_out, correct=correct)
    return new + (0 if given is None else len(given))


def _given_items(ledger: Ledger, ids: list[str]) -> tuple[pa.Table | None, list[str]]:
    """(id, payload, row) of items of the pool that nobody queried, and the problem of each that is not in the pool."""
    if not ids:
        return None, []
    if not ledger.steps():
        return None, [f"'{item}' was not queried; begin the run with xal run" for item in ids]
    try:
        pool = open_pool(parse(PoolSection, yaml.safe_load(ledger.metadata("recipe") or "{}")["pool"]))
    except DataError as error:
        return None, [f"'{item}' was not queried, and the pool cannot be opened ({error})" for item in ids]
    if ledger.metadata("pool") != pool.fingerprint:
        return None, [f"'{item}' was not queried, and the pool has changed since the run began" for item in ids]
    wanted = pa.array(ids, pa.string())
    rows = [
        first + position
        for first, table in pool.scan(["id"])
        for position in np.flatnonzero(pc.is_in(table["id"], wanted).to_numpy(zero_copy_only=False)).tolist()
    ]
    table = pool.read(np.array(rows, np.int64), ["id", pool.kind]).append_column("row", pa.array(rows, pa.int64()))
    missing = set(ids) - set(table["id"].to_pylist())
    problems = [f"'{item}' was not queried, and is not in the pool" for item in ids if item in missing]
    shape = tuple(yaml.safe_load(ledger.metadata("shape") or "[]"))
    _, readable = payload_of(table[pool.kind], pool.kind, shape)
    problems += [
        f"'{item}' cannot be read" for item, ok in zip(table["id"].to_pylist(), readable, strict=True) if not ok
    ]
    return table, problems


def _as_queried(ledger: Ledger, given: pa.Table) -> list[Queried]:
    """The ledger's entries of given items: in the current round, after the items that were queried."""
    earlier = ledger.queried()
    round = max(step.round for step in ledger.steps())
    rank = 1 + max((item.rank for item in earlier if item.round == round), default=-1)
    pairs = zip(given["id"].to_pylist(), given["row"].to_pylist(), strict=True)
    return [
        Queried(id=item, round=round, rank=rank + number, row=row, score=0.0, reason=GIVEN)
        for number, (item, row) in enumerate(pairs)
    ]


def _corrections(directory: Path, ledger: Ledger, answers: Answers) -> tuple[dict[str, Correction], list[str]]:
    """(corrections by id, problems); component names become the columns of the explanations that were shown."""
    marked = {item: names for item, names in answers.corrections.items() if any(names.values())}
    if not marked:
        return {}, []
    recipe = yaml.safe_load(ledger.metadata("recipe") or "{}")
    if not recipe.get("feedback"):
        return {}, [
            f"{len(marked)} corrections, but the run's recipe has no feedback; leave the correction columns empty"
        ]
    check_stored(recipe, directory)
    feedback: Feedback = parse(Feedback, recipe["feedback"])
    columns = yaml.safe_load(ledger.metadata("names") or "[]")
    shape = tuple(yaml.safe_load(ledger.metadata("shape") or "[]"))
    corrections: dict[str, Correction] = {}
    problems: list[str] = []
    masks: dict[Named, Mask] = {}
    rounds = {item.id: item.round for item in ledger.queried()}
    for round in sorted({rounds[item] for item in marked if item in rounds}):
        artefact = directory / step_folder(round, "query")
        table = read_items(artefact / ITEMS)
        kind = next(kind for kind in KINDS if kind in table.column_names)
        forms = forms_of(table[kind], kind, shape)
        explained = explanations_in(artefact)
        for item, form in zip(table["id"].to_pylist(), forms, strict=True):
            if item not in marked:
                continue
            explanation = explained.get(item)
            if explanation is None and feedback.shown is not None:
                problems.append(f"'{item}': no explanation of it was shown; leave its correction columns empty")
                continue
            k = feedback.shown_to_people
            shown = None if k is None or explanation is None else shown_components(explanation, k)
            naming = Naming(form, explanation, columns)
            corrections[item], item_problems = _correction(item, marked[item], naming, shown, feedback)
            problems += item_problems
            if feedback.takes_values(kind):
                size = feedback.onehot_width if len(shape) == 1 else 1
                for component in corrections[item].wrong:
                    group = range(component // size * size, component // size * size + size)
                    masks[item, naming.name(component)] = mask_of(group, shape, explanation)
    problems += [
        f"'{item}': wrong: '{name}' is the same in all items of the pool, so {feedback.name} cannot change it; leave "
        "it out, or start a run with another feedback"
        for item, name in (_constant_components(parse(PoolSection, recipe["pool"]), shape, masks) if masks else ())
    ]
    return corrections, problems


def _constant_components(section: PoolSection, shape: Shape, masks: Mapping[Named, Mask]) -> list[Named]:
    """`constants` of the recipe's pool; [] if this machine cannot open it, since training skips such corrections."""
    try:
        pool = open_pool(section)
    except DataError:
        return []
    return constants(pool, shape, masks)


def constants(pool: Pool, shape: Shape, masks: Mapping[Named, Mask]) -> list[Named]:
    """The components in whose mask, (h, w) or (d,), all items of the pool are equal; reads on while there are any."""
    candidates, first = dict(masks), None
    for _, table in pool.scan([pool.kind]):
        payload, readable = payload_of(table[pool.kind], pool.kind, shape)
        items = payload[readable]
        if not len(items):
            continue
        first = items[:1] if first is None else first
        differs = (items != first).any(axis=0)
        differs = differs.any(axis=0) if differs.ndim == 3 else differs
        candidates = {name: mask for name, mask in candidates.items() if not (differs & mask).any()}
        if not candidates:
            break
    return list(candidates)


def _correction(
    item: str, marked: Mapping[str, Sequence[str]], naming: Naming, shown: Sequence[int] | None, feedback: Feedback
) -> tuple[Correction, list[str]]:
    """(correction, problems) of one item. marked: component names by kind; shown: the components shown; None: all."""
    problems = []
    numbers: dict[str, list[int]] = {name: [] for name in CORRECTION_KINDS}
    for name, components in marked.items():
        if components and name not in feedback.correction_kinds:
            problems.append(
                f"'{item}': {name}: {feedback.name} learns from {', '.join(feedback.correction_kinds)}; leave it empty"
            )
            continue
        for component in components:
            number = naming.number(component)
            if number is None:
                close = get_close_matches(component, naming.names, n=1, cutoff=0.7)
                names = ", ".join(naming.name(index) for index in shown or ())
                hint = f"; did you mean '{close[0]}'?" if close else f"; shown: {names}" if names else ""
                problems.append(f"'{item}': {name}: the item has no component '{component}'{hint}")
            elif name == "wrong" and shown is not None and number not in shown:
                names = ", ".join(naming.name(index) for index in shown) or "nothing"
                problems.append(f"'{item}': wrong: '{component}' was not shown as relevant; shown: {names}")
            else:
                numbers[name].append(number)
    corrected = [number for indices in numbers.values() for number in indices]
    repeated = sorted({naming.name(number) for number in corrected if corrected.count(number) > 1})
    if repeated:
        problems.append(f"'{item}': marked more than once: {', '.join(repeated)}; mark each component once")
    return Correction(**{name: tuple(sorted(indices)) for name, indices in numbers.items()}), problems
