"""The HTML report: learning curves, comparison, cost, class balance, and a gallery of queried items."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from xal.campaign.advice import advice
from xal.core.config import differences
from xal.core.html import render
from xal.core.version import __version__
from xal.data.images import decode, shape_of
from xal.data.pool import KINDS
from xal.errors import RunError
from xal.evaluation.curves import Curves, comparison
from xal.evaluation.labels_saved import saved_against
from xal.explainers.visualization import displayable, feature_map, heat_map, marked_html, summary
from xal.report.figures import class_balance, learning_curves
from xal.report.right_reasons import corrected_view, correction_text, right_reasons_table
from xal.store.artefacts import EXPLANATIONS, ITEMS, SYNTHETIC, read_explanations, read_items
from xal.store.atomic import write_text
from xal.store.run import Run, read_run
from xal.types import Correction, Explanations, Form

ADVISED = 6  # runs whose forecasts are shown
SHOWN = 12  # items per round in the gallery
EXPLANATION_COLUMNS = {
    "explanation_f1_queries": "F1, queries",
    "explanation_f1_test": "F1, test",
    "explanation_recall_test": "recall, test",
    "on_irrelevant_queries": "on irrelevant, queries",
    "on_irrelevant_test": "on irrelevant, test",
}
"""Titles of the columns on explanations in the table of corrections."""
TILE = 112  # smallest width of a picture, pixels


@dataclass(frozen=True, kw_only=True)
class Card:
    """One queried item in the gallery."""

    id: str
    pictures: tuple[str, ...]  # data URLs: original, features, heat map and, if there is one, the synthetic copy
    marked: str  # HTML of a text with marked words
    note: str  # EBAnO's indices of the top feature, or the words or columns of largest attribution
    correction: str  # as text; empty if there is none
    prediction: str | None
    confidence: float | None
    label: str | None
    score: float
    reason: str
    because: str


def write_report(directories: Sequence[Path], destination: Path, ledger: str | None = None) -> Path:
    """Write one page about the runs; raises RunError if their recipes differ.

    ledger: URL of their PostgreSQL ledgers, for the password; None: $XAL_LEDGER.
    """
    arms = arms_of([read_run(path, ledger) for path in directories])
    runs = [run for group in arms.values() for run in group]
    first = runs[0]
    galleries = {arm: _gallery(group[0]) for arm, group in arms.items()}
    cards = [card for rounds in galleries.values() for _, round_cards in rounds for card in round_cards]
    html = render(
        "report.html",
        version=__version__,
        title=destination.resolve().parent.name,
        recipe=first.recipe,
        changes=[line for run in runs for line in _changes(run)],
        classes=first.classes,
        arms=arms,
        seeds=sorted({run.seed for run in runs}),
        states=[(run.arm, run.seed, run.state) for run in runs],
        curves={measure: learning_curves(curves_of(arms, measure), measure) for measure in measures_of(runs)},
        measured_on=_measured_on(runs),
        advice=[f"{run.arm}, seed {run.seed}: {line}" for run in runs[:ADVISED] for line in advice(run)],
        saved=saved_against(curves_of(arms, "accuracy")),
        table=comparison(curves_of(arms, "accuracy")),
        balance=class_balance(arms, first.classes),
        costs={arm: _costs(group) for arm, group in arms.items()},
        right_reasons={arm: right_reasons_table(group) for arm, group in arms.items()},
        galleries=galleries,
        shown={
            "pictures": any(card.pictures for card in cards),
            "corrected": any(card.correction for card in cards),
            "ebano": any((run.recipe["explainer"] or {}).get("name") == "ebano" for run in runs),
            "explainers": sorted({run.recipe["explainer"]["name"] for run in runs if run.recipe["explainer"]}),
        },
        explanation_columns=EXPLANATION_COLUMNS,
        unreadable=dict(sorted(pair for run in runs for pair in run.unreadable.items())),
    )
    destination.parent.mkdir(parents=True, exist_ok=True)
    write_text(destination, html)
    return destination


def arms_of(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs by arm, sorted by seed; raises RunError if their recipes differ in more than what an arm may change."""
    _same_recipe(runs)
    arms: dict[str, list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.seed):
        arms[run.arm].append(run)
    return dict(arms)


def _changes(run: Run) -> list[str]:
    """Sentences on what changed under way in a run: the curve is not of one recipe."""
    name = f"{run.arm}, seed {run.seed}"
    lines = [f"{name}: changed after round {round}: {'; '.join(changed)}" for round, changed in run.changes]
    if run.labels_changed:
        lines.append(f"{name}: {run.labels_changed} labels were changed or taken back later")
    return lines


def _same_recipe(runs: Sequence[Run]) -> None:
    first_of_arm: dict[str, Run] = {}
    for run in runs:
        same_arm = first_of_arm.setdefault(run.arm, run)
        for other, may_differ in ((runs[0], ("strategy", "explainer", "feedback", "seed:")), (same_arm, ("seed:",))):
            lines = [line for line in differences(other.recipe, run.recipe) if not line.startswith(may_differ)]
            if lines:
                both = f"{other.directory} and {run.directory}"
                raise RunError(f"{both} are runs of different recipes: {lines[0]}; report them separately")


def measures_of(runs: Sequence[Run]) -> list[str]:
    """Those of accuracy and macro_f1 that all evaluations have."""
    evaluations = [step.metrics for run in runs for step in run.of("evaluate").values()]
    return [
        name for name in ("accuracy", "macro_f1") if evaluations and all(name in metrics for metrics in evaluations)
    ]


def _measured_on(runs: Sequence[Run]) -> str:
    """What the runs were evaluated on, in words."""
    kinds = {
        f"{step.metrics['test_items']:,} {step.metrics['on']} items"
        for run in runs
        for step in run.of("evaluate").values()
    }
    if len(kinds) < 3:
        return ", ".join(sorted(kinds))
    sizes = [step.metrics["test_items"] for run in runs for step in run.of("evaluate").values()]
    return f"the validation split, {min(sizes):,} to {max(sizes):,} items"


def curves_of(arms: Mapping[str, Sequence[Run]], measure: str) -> Curves:
    """The curves of a metric by arm and seed; runs without it are left out."""
    return {arm: {run.seed: run.curve(measure) for run in runs if run.curve(measure)[1]} for arm, runs in arms.items()}


def _costs(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Mean seconds of each step by round, and the items per second of the query."""
    rows = []
    for round in sorted({step.round for run in runs for step in run.steps}):
        row: dict[str, Any] = {"round": round}
        for name in ("query", "label", "train", "evaluate"):
            steps = [run.of(name)[round] for run in runs if round in run.of(name)]
            row[name] = float(np.mean([step.seconds for step in steps])) if steps else None
            if name == "query" and steps:
                items = np.mean([sum(step.metrics["items"].values()) for step in steps])
                row["items"], row["rate"] = int(items), items / max(row[name], 1e-9)
                row["passes"] = steps[0].metrics["items"]
                row["chosen"] = steps[0].metrics["chosen"]
        rows.append(row)
    return rows


def _gallery(run: Run) -> list[tuple[int, list[Card]]]:
    """Cards of the best-scored items by round, for rounds with explanations."""
    rounds = []
    for round, step in run.of("query").items():
        folder = run.directory / (step.artefact or "")
        if not (folder / EXPLANATIONS).exists():
            continue
        items = [item for item in run.queried if item.round == round][:SHOWN]
        ids, explanations = read_explanations(folder / EXPLANATIONS)
        index_of = {item: index for index, item in enumerate(ids)}
        table = read_items(folder / ITEMS)
        kind = next(kind for kind in KINDS if kind in table.column_names)
        payload_by_id = dict(zip(table["id"].to_pylist(), table[kind].to_pylist(), strict=True))
        copies = _copies(run, round)
        cards = []
        for item in items:
            if item.id not in index_of:
                continue
            explanation = explanations.take([index_of[item.id]])
            payload = payload_by_id[item.id]
            pictures, marked, note = _views(kind, payload, explanation, copies.get(item.id), run.names)
            corrected, text = run.corrections.get(item.id), ""
            if corrected is not None:
                form, picture = _correction_view(kind, payload, explanation, corrected.correction)
                pictures = pictures + picture
                text = correction_text(corrected.correction, form, explanation, run.names)
            cards.append(
                Card(
                    id=item.id,
                    pictures=pictures,
                    marked=marked,
                    note=note,
                    correction=text,
                    prediction=item.prediction,
                    confidence=item.confidence,
                    label=item.label,
                    score=item.score,
                    reason=item.reason,
                    because=item.because,
                )
            )
        rounds.append((round, cards))
    return rounds


def _views(
    kind: str, payload: Any, explanation: Explanations, copy: bytes | None, names: Sequence[str]
) -> tuple[tuple[str, ...], str, str]:
    """(pictures, marked text, note) of an item. `copy`: its synthetic copy as PNG."""
    if kind == "text":
        return (), marked_html(payload, explanation), summary(payload, explanation)
    if kind == "features":
        return (), "", summary(payload, explanation, names)
    images, _ = decode([payload], shape := _shape(payload, explanation))
    views = [displayable(images[0])]
    if explanation.feature_kind == "concepts":
        return (_data_url(views[0]),), "", summary(images[0], explanation)
    if explanation.npirp is None:
        note = ""
    else:
        top = explanation.top_feature[0]
        note = f"fmax: nPIR {explanation.npir[0, top]:+.2f}, nPIRP {float(explanation.npirp[0, top]):+.2f}"
        views.append(feature_map(images[0], explanation))
    views.append(heat_map(images[0], explanation))
    if copy is not None:
        views.append(displayable(decode([copy], shape)[0][0]))
    return tuple(_data_url(view) for view in views), "", note


def _correction_view(
    kind: str, payload: Any, explanation: Explanations, correction: Correction
) -> tuple[Form, tuple[str, ...]]:
    """(form of the item, a picture of the correction if the item is an image)."""
    if kind != "image":
        return payload if kind == "text" else (len(payload),), ()
    image = decode([payload], _shape(payload, explanation))[0][0]
    if explanation.feature_kind == "concepts":
        return image.shape, ()
    return image.shape, (_data_url(corrected_view(image, correction, explanation)),)


def _shape(payload: bytes, explanation: Explanations) -> tuple[int, int, int]:
    """(3, h, w) of an image as the network saw it, or, for concepts, which have no segments, as it is stored."""
    h, w = shape_of(payload)[1:] if explanation.segments is None else explanation.segments.shape[1:]
    return 3, h, w


def _copies(run: Run, round: int) -> dict[str, bytes]:
    """Synthetic copies (PNG) that a round trained on, by id of the source item."""
    step = run.of("train").get(round)
    path = run.directory / (step.artefact or "") / SYNTHETIC if step else None
    if path is None or not path.is_file():
        return {}
    table = read_items(path, ["source", "image"])
    return dict(zip(table["source"].to_pylist(), table["image"].to_pylist(), strict=True))


def _data_url(view: npt.NDArray[np.uint8]) -> str:
    picture = Image.fromarray(view)
    if picture.width < TILE:
        picture = picture.resize((TILE, TILE * picture.height // picture.width), Image.Resampling.NEAREST)
    else:
        picture.thumbnail((TILE * 2, TILE * 2))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
