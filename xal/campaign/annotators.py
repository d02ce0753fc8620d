"""Who labels: the oracle that knows, or a person who takes a file and brings one back."""

from __future__ import annotations

import csv
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xal.chance import Chance
from xal.component import Component
from xal.data.images import decode, encode_png
from xal.data.payloads import payload_of
from xal.data.pool import Pool
from xal.errors import LabelError
from xal.explainers.drawing import panel, summary
from xal.feedback import Feedback
from xal.feedback.components import Naming, shown_components
from xal.models.model import Shape
from xal.store.artefacts import EXPLANATIONS, ITEMS, read_explanations, read_items, writing
from xal.store.ledger import Queried
from xal.types import Correction, Explanations

CLASSES = "classes.txt"
BETWEEN = "; "


@dataclass(frozen=True, eq=False, kw_only=True)
class Request:
    """A batch to annotate."""

    directory: Path
    round: int
    items: Sequence[Queried]
    pool: Pool
    shape: Shape
    classes: tuple[str, ...]
    chance: Chance = field(default_factory=lambda: Chance(0))
    feedback: Feedback | None = None
    """What asks for corrections; None: nothing does."""

    def explanations(self) -> dict[str, Explanations]:
        """By id, where the query step left any."""
        return explanations_in(self.artefact)

    @property
    def artefact(self) -> Path:
        """Where the query step left payloads and explanations."""
        return self.directory / f"round-{self.round:03d}" / "query"


@dataclass(frozen=True, kw_only=True)
class Annotator(Component, family="annotator"):
    """Base of the annotators."""

    @abstractmethod
    def annotate(self, request: Request) -> Mapping[str, str]:
        """Labels by id, as many as there are now; the campaign waits for the others."""

    def correct(self, request: Request, labels: Mapping[str, str]) -> Mapping[str, Correction]:
        """Corrections by id of the items with these labels; by default none."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Oracle(Annotator, name="oracle"):
    """Answers from the pool's own `label` column: simulation."""

    def annotate(self, request: Request) -> Mapping[str, str]:
        """Raises LabelError where the pool does not know, or knows a label outside the classes."""
        if not request.pool.has_labels:
            raise LabelError("annotator: the oracle needs a pool with a `label` column; use annotator: file")
        rows = np.sort(np.array([item.row for item in request.items], np.int64))
        table = request.pool.read(rows, ["id", "label"])
        labels = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
        problems = [
            f"'{item}': label {label!r} is not one of the {len(request.classes)} classes"
            for item, label in labels.items()
            if label not in request.classes
        ]
        if problems:
            raise LabelError("the oracle cannot answer:\n" + "\n".join(problems))
        return labels


@dataclass(frozen=True, kw_only=True)
class File(Annotator, name="file"):
    """Writes the batch with its explanations; `xal label RUN FILE` brings the labels back."""

    explanations: bool = True
    """Draw the explanations; false where they might bias the annotators."""

    def annotate(self, request: Request) -> Mapping[str, str]:
        """Write `to-label/round-NNN` unless it is there; labels come by another way."""
        name = f"round-{request.round:03d}"
        if not (request.directory / "to-label" / name / CLASSES).exists():  # written last
            with writing(request.directory, f"to-label/{name}") as folder:
                self._export(request, folder)
        return {}

    def _export(self, request: Request, folder: Path) -> None:
        kind = request.pool.kind
        shown = self._draw(request, folder) if kind == "image" else self._write(request)
        said = request.feedback.asks if request.feedback is not None else ()
        asked = ["shown", *said] if said else []
        components = self._shown(request) if request.feedback is not None else {}
        columns = ["id", "label", *asked, "prediction", "confidence", "score", "why", kind, "explanation"]
        rows: list[dict[str, Any]] = [
            {
                "id": item.id,
                "label": item.label or "",
                "prediction": item.prediction or "",
                "confidence": "" if item.confidence is None else round(item.confidence, 4),
                "score": round(item.score, 6),
                "why": item.why,
                kind: shown[item.id][0],
                "explanation": shown[item.id][1],
            }
            for item in request.items
        ]
        if asked:
            rows = [row | {"shown": components.get(row["id"], "")} | dict.fromkeys(said, "") for row in rows]
        with (folder / "batch.csv").open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, columns)
            writer.writeheader()
            writer.writerows(rows)
        with (folder / "batch.jsonl").open("w", encoding="utf-8") as handle:
            handle.writelines(json.dumps(row) + "\n" for row in rows)
        (folder / CLASSES).write_text("\n".join(request.classes) + "\n", encoding="utf-8")

    def _shown(self, request: Request) -> dict[str, str]:
        """What may be marked `wrong`, in the words that come back."""
        table = read_items(request.artefact / ITEMS)
        payload, _ = payload_of(table[request.pool.kind], request.pool.kind, request.shape)
        explained = request.explanations()
        k = request.feedback.shown_to_people if request.feedback is not None else None
        found = {}
        for item, each in zip(table["id"].to_pylist(), payload, strict=True):
            if item in explained:
                naming = Naming(each, explained[item], request.pool.names)
                found[item] = BETWEEN.join(naming.name(number) for number in shown_components(explained[item], k))
        return found

    def _write(self, request: Request) -> dict[str, tuple[str, str]]:
        """Every item in words: {id: (text or numbers, the words or columns of largest attribution)}."""
        kind = request.pool.kind
        table = read_items(request.artefact / ITEMS)
        explained = request.explanations() if self.explanations else {}
        shown = {}
        for name, payload in zip(table["id"].to_pylist(), table[kind].to_pylist(), strict=True):
            why = summary(payload, explained[name], request.pool.names) if name in explained else ""
            shown[name] = (payload if kind == "text" else ", ".join(f"{number:g}" for number in payload), why)
        return shown

    def _draw(self, request: Request, folder: Path) -> dict[str, tuple[str, str]]:
        """Pictures of every item: {id: (image, explanation or '')}, paths relative to the folder."""
        table = read_items(request.artefact / ITEMS)
        ids = table["id"].to_pylist()
        images, _ = decode(table["image"].to_pylist(), request.shape)
        explained = request.explanations() if self.explanations else {}
        asked = {}
        if request.feedback is not None and request.feedback.asks:
            k = request.feedback.shown_to_people
            asked = {name: shown_components(each, k) for name, each in explained.items()}
        ranks = {item.id: item.rank for item in request.items}
        (folder / "pictures").mkdir()
        pictures = {}
        for name, image in zip(ids, images, strict=True):
            plain, drawn = f"pictures/{ranks[name]:04d}.png", ""
            (folder / plain).write_bytes(encode_png(image))
            if name in explained:
                drawn = f"pictures/{ranks[name]:04d}-why.png"
                (folder / drawn).write_bytes(panel(image, explained[name], request.classes, asked.get(name)))
            pictures[name] = (plain, drawn)
        return pictures


def explanations_in(artefact: Path) -> dict[str, Explanations]:
    """By id, of a query's artefact; none where it has no explanations."""
    if not (artefact / EXPLANATIONS).exists():
        return {}
    names, explanations = read_explanations(artefact / EXPLANATIONS)
    return {name: explanations.take(slice(i, i + 1)) for i, name in enumerate(names)}
