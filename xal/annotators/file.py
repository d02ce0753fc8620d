"""Annotation by people: write the batch as files, and import their label file."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from xal.annotators.annotator import Annotator, Request
from xal.core.tables import defused
from xal.data.decode import forms_of
from xal.data.images import decode, picture_of
from xal.explainers.components import Naming, shown_components
from xal.explainers.visualization import panel, says_nothing, summary
from xal.store.artefacts import ITEMS, read_items
from xal.store.atomic import writing
from xal.store.directory import round_folder

CLASSES = "classes.txt"
SEPARATOR = "; "  # between component names, as in imported label files


@dataclass(frozen=True, kw_only=True)
class File(Annotator, name="file"):
    """Writes the batch and its explanations to files; `xal label RUN FILE` imports the labels."""

    explanations: bool = True
    """Show the explanations; false if they might bias the annotators."""
    pictures: bool = True
    """Write pictures of images and their explanations; false: only the tables."""

    def annotate(self, request: Request) -> Mapping[str, str]:
        """Write `to-label/round-NNN` unless it exists; returns no labels: `xal label` imports them."""
        name = round_folder(request.round)
        if not (request.directory / "to-label" / name / CLASSES).exists():  # written last
            with writing(request.directory, f"to-label/{name}") as folder:
                self._export(request, folder)
        return {}

    def _export(self, request: Request, folder: Path) -> None:
        kind = request.pool.kind
        cells = self._cells(request, folder)
        kinds = request.feedback.correction_kinds if request.feedback is not None else ()
        correction_columns = ["shown", *kinds] if kinds else []
        shown = self._shown_names(request) if request.feedback is not None else {}
        # rank comes first: programs that overlook the byte order mark misread the first name, and id must not be it
        columns = ["rank", "id", kind, "label", *correction_columns]
        columns += ["prediction", "confidence", "score", "reason", "because", "explanation"]
        rows: list[dict[str, Any]] = [
            {
                "rank": item.rank,
                "id": item.id,
                "label": item.label or "",
                "prediction": item.prediction or "",
                "confidence": "" if item.confidence is None else round(item.confidence, 4),
                "score": round(item.score, 6),
                "reason": item.reason,
                "because": item.because,
                kind: cells[item.id][0],
                "explanation": cells[item.id][1],
            }
            for item in request.items
        ]
        if kinds:
            rows = [row | {"shown": shown.get(row["id"], "")} | dict.fromkeys(kinds, "") for row in rows]
        with (folder / "batch.csv").open("w", newline="", encoding="utf-8-sig") as handle:  # as spreadsheets expect
            writer = csv.DictWriter(handle, columns)
            writer.writeheader()
            writer.writerows({name: defused(str(cell)) for name, cell in row.items()} for row in rows)
        with (folder / "batch.jsonl").open("w", encoding="utf-8") as handle:
            handle.writelines(json.dumps(row) + "\n" for row in rows)
        (folder / CLASSES).write_text("\n".join(request.label_space.classes) + "\n", encoding="utf-8")

    def _cells(self, request: Request, folder: Path) -> dict[str, tuple[str, str]]:
        """(item, explanation) as the table shows them, by id."""
        if request.pool.kind != "image":
            return self._text_cells(request)
        return self._picture_cells(request, folder) if self.pictures else {item.id: ("", "") for item in request.items}

    def _shown_names(self, request: Request) -> dict[str, str]:
        """The names of the components that may be marked `wrong`, by id."""
        table = _asked(request)
        forms = forms_of(table[request.pool.kind], request.pool.kind, request.shape)
        explained = request.explanations()
        k = request.feedback.shown_to_people if request.feedback is not None else None
        names = {}
        for item, form in zip(table["id"].to_pylist(), forms, strict=True):
            if item in explained and not says_nothing(explained[item]):
                naming = Naming(form, explained[item], request.pool.names)
                names[item] = SEPARATOR.join(naming.name(number) for number in shown_components(explained[item], k))
        return names

    def _text_cells(self, request: Request) -> dict[str, tuple[str, str]]:
        """{id: (text or numbers, the words or columns of largest attribution)}."""
        kind = request.pool.kind
        table = _asked(request)
        explained = request.explanations() if self.explanations else {}
        cells = {}
        for item, payload in zip(table["id"].to_pylist(), table[kind].to_pylist(), strict=True):
            explanation = summary(payload, explained[item], request.pool.names) if item in explained else ""
            cells[item] = (payload if kind == "text" else _numbers(payload, request.pool.names), explanation)
        return cells

    def _picture_cells(self, request: Request, folder: Path) -> dict[str, tuple[str, str]]:
        """Draw the items: {id: (path of the image, path of its explanation or '')}, relative to the folder."""
        table = _asked(request)
        ids = table["id"].to_pylist()
        payloads = table["image"].to_pylist()
        images, _ = decode(payloads, request.shape)
        explained = request.explanations() if self.explanations else {}
        shown = {}
        if request.feedback is not None and request.feedback.correction_kinds:
            k = request.feedback.shown_to_people
            shown = {item: shown_components(explanation, k) for item, explanation in explained.items()}
        ranks = {item.id: item.rank for item in request.items}
        (folder / "pictures").mkdir()
        pictures = {}
        for item, payload, image in zip(ids, payloads, images, strict=True):
            content, suffix = picture_of(payload)
            picture, explanation = f"pictures/{ranks[item]:04d}{suffix}", ""
            (folder / picture).write_bytes(content)
            if item in explained:
                explanation = f"pictures/{ranks[item]:04d}-why.png"
                (folder / explanation).write_bytes(
                    panel(image, explained[item], request.label_space.classes, shown.get(item))
                )
            pictures[item] = (picture, explanation)
        return pictures


def _numbers(payload: Sequence[float], names: Sequence[str]) -> str:
    """The numbers of a row, with the names of their columns if the pool has them."""
    if len(names) != len(payload):
        return ", ".join(f"{number:g}" for number in payload)
    return ", ".join(f"{name}={number:g}" for name, number in zip(names, payload, strict=True))


def _asked(request: Request) -> pa.Table:
    """The items that are asked for; the artefact of round 0 also holds those that the pool has labels for."""
    table = read_items(request.artefact / ITEMS)
    return table.filter(pc.is_in(table["id"], pa.array([item.id for item in request.items], pa.string())))
