"""Label files: a CSV or JSONL comes back from the annotators, and is taken whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import yaml

from xal.annotators.label_file import Answers, read_labels
from xal.campaign.identity import add_classes, label_space_of
from xal.campaign.pools import open_pool
from xal.campaign.recipe import PoolSection
from xal.core.config import parse
from xal.data.decode import forms_of, payload_of
from xal.data.pool import KINDS, Pool
from xal.errors import DataError, LabelError, RunError
from xal.explainers.components import Mask, Naming, mask_of, shown_components
from xal.feedback import Feedback
from xal.store.artefacts import ITEMS, explanations_in, read_items
from xal.store.directory import held, is_run, step_folder
from xal.store.ledger import Ledger
from xal.types import CORRECTION_KINDS, Correction, Shape

Named = tuple[str, str]
"""An item, and what one of its components is called."""


def import_labels(directory: Path, file: Path, annotator: str) -> tuple[int, int]:
    """Take labels, and corrections, for a run from a CSV or JSONL, all or none. Returns (new labels, still waited for).

    Raises LabelError that lists every mistake.
    """
    if not is_run(directory):
        raise RunError(f"{directory} is not a run directory: it has no ledger")
    with held(directory) as ledger:
        new = take_answers(directory, ledger, read_labels(file, label_space_of(ledger)), str(file), annotator)
        return new, sum(item.label is None for item in ledger.queried())


def take_answers(directory: Path, ledger: Ledger, answers: Answers, source: str, annotator: str) -> int:
    """Write labels and corrections to the ledger, all or none; returns how many labels are new.

    Raises LabelError that lists every mistake of the `source`.
    """
    problems = answers.problems + ledger.label_problems(answers.labels)
    corrections, more = _corrections(directory, ledger, answers)
    problems += more + ledger.correction_problems(corrections)
    if problems:
        raise LabelError(
            f"{source}: {len(problems)} problem{'s' * (len(problems) > 1)}, nothing was imported\n"
            + "\n".join(f"  - {problem}" for problem in problems)
        )
    add_classes(ledger, answers.labels.values())
    return ledger.add_labels(answers.labels, annotator, corrections)


def _corrections(directory: Path, ledger: Ledger, answers: Answers) -> tuple[dict[str, Correction], list[str]]:
    """(corrections by id, what is wrong): names become components of what was shown."""
    said = {item: names for item, names in answers.said.items() if any(names.values())}
    if not said:
        return {}, []
    recipe = yaml.safe_load(ledger.metadata("recipe") or "{}")
    if not recipe.get("feedback"):
        return {}, [f"{len(said)} corrections, but the run's recipe asks for none (feedback); leave the columns empty"]
    feedback: Feedback = parse(Feedback, recipe["feedback"])
    columns = yaml.safe_load(ledger.metadata("names") or "[]")
    shape = tuple(yaml.safe_load(ledger.metadata("shape") or "[]"))
    corrections: dict[str, Correction] = {}
    problems: list[str] = []
    masks: dict[Named, Mask] = {}
    rounds = {item.id: item.round for item in ledger.queried()}
    for round in sorted({rounds[item] for item in said if item in rounds}):
        artefact = directory / step_folder(round, "query")
        table = read_items(artefact / ITEMS)
        kind = next(kind for kind in KINDS if kind in table.column_names)
        forms = forms_of(table[kind], kind, shape)
        explained = explanations_in(artefact)
        for item, form in zip(table["id"].to_pylist(), forms, strict=True):
            if item not in said:
                continue
            explanation = explained.get(item)
            if explanation is None and feedback.shown is not None:
                problems.append(f"'{item}': no explanation of it was shown, so there is nothing to correct")
                continue
            k = feedback.shown_to_people
            shown = None if k is None or explanation is None else shown_components(explanation, k)
            naming = Naming(form, explanation, columns)
            found, wrong = _numbers(item, said[item], naming, shown, feedback)
            problems += wrong
            corrections[item] = found
            if feedback.takes_values(kind):
                size = feedback.onehot_width if len(shape) == 1 else 1
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
        pool = open_pool(section)
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
    numbers: dict[str, list[int]] = {name: [] for name in CORRECTION_KINDS}
    for name, components in said.items():
        if components and name not in feedback.correction_kinds:
            problems.append(
                f"'{item}': {name}: {feedback.name} learns from {', '.join(feedback.correction_kinds)}; leave it empty"
            )
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
