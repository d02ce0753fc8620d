"""A person who takes a file and brings one back."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xal.annotators.annotator import Annotator, Request
from xal.data.decode import forms_of
from xal.data.images import decode, encode_png
from xal.explainers.components import Naming, shown_components
from xal.explainers.visualization import panel, summary
from xal.store.artefacts import ITEMS, read_items
from xal.store.atomic import writing
from xal.store.directory import round_folder

CLASSES = "classes.txt"
BETWEEN = "; "


@dataclass(frozen=True, kw_only=True)
class File(Annotator, name="file"):
    """Writes the batch with its explanations; `xal label RUN FILE` brings the labels back."""

    explanations: bool = True
    """Draw the explanations; false where they might bias the annotators."""
    pictures: bool = True
    """Write pictures of images, and of their explanations; false leaves the tables."""

    def annotate(self, request: Request) -> Mapping[str, str]:
        """Write `to-label/round-NNN` unless it is there; labels come by another way."""
        name = round_folder(request.round)
        if not (request.directory / "to-label" / name / CLASSES).exists():  # written last
            with writing(request.directory, f"to-label/{name}") as folder:
                self._export(request, folder)
        return {}

    def _export(self, request: Request, folder: Path) -> None:
        kind = request.pool.kind
        shown = self._shown_items(request, folder)
        said = request.feedback.correction_kinds if request.feedback is not None else ()
        asked = ["shown", *said] if said else []
        components = self._shown(request) if request.feedback is not None else {}
        columns = ["id", "label", *asked, "prediction", "confidence", "score", "reason", kind, "explanation"]
        rows: list[dict[str, Any]] = [
            {
                "id": item.id,
                "label": item.label or "",
                "prediction": item.prediction or "",
                "confidence": "" if item.confidence is None else round(item.confidence, 4),
                "score": round(item.score, 6),
                "reason": item.reason,
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
        (folder / CLASSES).write_text("\n".join(request.label_space.classes) + "\n", encoding="utf-8")

    def _shown_items(self, request: Request, folder: Path) -> dict[str, tuple[str, str]]:
        """By id, what stands for an item and for its explanation in the table."""
        if request.pool.kind != "image":
            return self._write(request)
        return self._draw(request, folder) if self.pictures else {item.id: ("", "") for item in request.items}

    def _shown(self, request: Request) -> dict[str, str]:
        """What may be marked `wrong`, in the words that come back."""
        table = read_items(request.artefact / ITEMS)
        forms = forms_of(table[request.pool.kind], request.pool.kind, request.shape)
        explained = request.explanations()
        k = request.feedback.shown_to_people if request.feedback is not None else None
        found = {}
        for item, form in zip(table["id"].to_pylist(), forms, strict=True):
            if item in explained:
                naming = Naming(form, explained[item], request.pool.names)
                found[item] = BETWEEN.join(naming.name(number) for number in shown_components(explained[item], k))
        return found

    def _write(self, request: Request) -> dict[str, tuple[str, str]]:
        """Every item in words: {id: (text or numbers, the words or columns of largest attribution)}."""
        kind = request.pool.kind
        table = read_items(request.artefact / ITEMS)
        explained = request.explanations() if self.explanations else {}
        shown = {}
        for name, payload in zip(table["id"].to_pylist(), table[kind].to_pylist(), strict=True):
            reason = summary(payload, explained[name], request.pool.names) if name in explained else ""
            shown[name] = (payload if kind == "text" else ", ".join(f"{number:g}" for number in payload), reason)
        return shown

    def _draw(self, request: Request, folder: Path) -> dict[str, tuple[str, str]]:
        """Pictures of every item: {id: (image, explanation or '')}, paths relative to the folder."""
        table = read_items(request.artefact / ITEMS)
        ids = table["id"].to_pylist()
        images, _ = decode(table["image"].to_pylist(), request.shape)
        explained = request.explanations() if self.explanations else {}
        asked = {}
        if request.feedback is not None and request.feedback.correction_kinds:
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
                (folder / drawn).write_bytes(
                    panel(image, explained[name], request.label_space.classes, asked.get(name))
                )
            pictures[name] = (plain, drawn)
        return pictures
