"""Check every id, payload and label of a pool before a campaign uses it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xal.data import images
from xal.data.decode import word_lists
from xal.data.pool import Pool, as_matrix
from xal.errors import DataError
from xal.types import Kind


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What a pool holds and what is wrong with it. Missing labels are not a fault."""

    rows: int
    kind: Kind
    classes: tuple[str, ...]
    label_counts: dict[str, int]  # items of each label, in the order of the classes
    missing_labels: int  # null or blank
    unknown_labels: tuple[str, ...]  # not among the classes
    null_ids: int  # null or empty
    duplicate_ids: tuple[str, ...]  # each listed once, in the order of the pool
    unreadable: tuple[tuple[str, str], ...]  # (id, reason): broken images, blank texts, features that are not finite
    images: str = ""  # what images a sample of the pool shows; empty for other kinds

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each kind of fault that was found."""
        faults = (
            (self.null_ids, "rows have no id"),
            (len(self.duplicate_ids), f"ids come more than once: {_first(self.duplicate_ids)}"),
            (
                len(self.unreadable),
                f"items cannot be used: {_first([f'{identity} ({reason})' for identity, reason in self.unreadable])}",
            ),
            (len(self.unknown_labels), f"labels are not among the classes: {_first(self.unknown_labels)}"),
        )
        return tuple(f"{count} {sentence}" for count, sentence in faults if count)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def check(path: Path | str, progress: Callable[[int, int | None], None] | None = None) -> CheckReport:
    """Read every row of the pool at `path`; `progress` is called with (rows done, total rows)."""
    pool = Pool.open(path)
    seen: set[str] = set()
    duplicates: dict[str, None] = {}
    labels: Counter[str | None] = Counter()
    unreadable: list[tuple[str, str]] = []
    null_ids = 0
    columns = ["id", pool.kind, *(["label"] if pool.has_labels else []), *(["words"] if pool.has_words else [])]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for first, table in pool.scan(columns):
            ids = table["id"].to_pylist()
            for identity in ids:
                if not identity:
                    null_ids += 1
                elif identity in seen:
                    duplicates[identity] = None
                else:
                    seen.add(identity)
            if pool.kind == "features":
                finite = np.atleast_1d(np.isfinite(as_matrix(table["features"])).all(axis=1))
                reasons = ["" if good else "a number is missing, infinite or NaN" for good in finite]
            elif pool.kind == "text":
                reasons = ["" if text and text.strip() else "the text is blank" for text in table["text"].to_pylist()]
            else:
                reasons = list(threads.map(_image_error, table["image"].to_pylist()))
            unreadable += [
                (identity or f"row {first + index}", reason)
                for index, (identity, reason) in enumerate(zip(ids, reasons, strict=True))
                if reason
            ]
            if pool.has_words:
                word_lists(table["words"])
            if pool.has_labels:
                labels.update(table["label"].to_pylist())
            if progress is not None:
                progress(first + len(ids), len(pool))
    label_counts = {label: count for label, count in labels.items() if label and label.strip()}
    unknown = tuple(sorted(set(label_counts) - set(pool.classes)))
    return CheckReport(
        rows=len(pool),
        kind=pool.kind,
        classes=pool.classes,
        label_counts={label: label_counts[label] for label in (*pool.classes, *unknown) if label in label_counts},
        missing_labels=sum(labels.values()) - sum(label_counts.values()),
        unknown_labels=unknown,
        null_ids=null_ids,
        duplicate_ids=tuple(duplicates),
        unreadable=tuple(unreadable),
        images=str(pool.survey) if pool.kind == "image" and len(unreadable) < len(pool) else "",
    )


def _image_error(payload: bytes | None) -> str:
    try:
        images.load(payload)
    except DataError as error:
        return str(error)
    return ""


def _first(names: Sequence[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
