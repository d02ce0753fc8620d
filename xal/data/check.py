"""Check a pool before a campaign spends time on it: ids, payloads and labels, all of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xal.data import images
from xal.data.pool import Pool, as_matrix
from xal.errors import DataError
from xal.types import Kind


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What a pool holds and what is wrong with it; a missing label is no fault, a pool is there to be labelled."""

    rows: int
    kind: Kind
    classes: tuple[str, ...]
    label_counts: dict[str, int]  # the labels that are there, in the order of the classes
    missing_labels: int  # null or blank
    unknown_labels: tuple[str, ...]  # not among the classes
    null_ids: int  # null or empty
    duplicate_ids: tuple[str, ...]  # each once, in order
    unreadable: tuple[tuple[str, str], ...]  # (id, why): images, blank texts, features that are not finite

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each kind of fault."""
        found = (
            (self.null_ids, "rows have no id"),
            (len(self.duplicate_ids), f"ids come more than once: {_some(self.duplicate_ids)}"),
            (
                len(self.unreadable),
                f"items cannot be used: {_some([f'{identity} ({why})' for identity, why in self.unreadable])}",
            ),
            (len(self.unknown_labels), f"labels are not among the classes: {_some(self.unknown_labels)}"),
        )
        return tuple(f"{count} {sentence}" for count, sentence in found if count)

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.problems


def check(path: Path | str, progress: Callable[[int, int | None], None] | None = None) -> CheckReport:
    """Read every row of the pool at `path`; `progress` is given the rows done and their number."""
    pool = Pool.open(path)
    seen: set[str] = set()
    twice: dict[str, None] = {}
    labels: Counter[str | None] = Counter()
    unreadable: list[tuple[str, str]] = []
    null_ids = 0
    columns = ["id", pool.kind, *(["label"] if pool.has_labels else [])]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for first, table in pool.scan(columns):
            ids = table["id"].to_pylist()
            for identity in ids:
                if not identity:
                    null_ids += 1
                elif identity in seen:
                    twice[identity] = None
                else:
                    seen.add(identity)
            if pool.kind == "features":
                finite = np.atleast_1d(np.isfinite(as_matrix(table["features"])).all(axis=1))
                reasons = ["" if good else "a number is missing, infinite or NaN" for good in finite]
            elif pool.kind == "text":
                reasons = ["" if text and text.strip() else "the text is blank" for text in table["text"].to_pylist()]
            else:
                reasons = list(threads.map(_why_unreadable, table["image"].to_pylist()))
            unreadable += [
                (identity or f"row {first + index}", reason)
                for index, (identity, reason) in enumerate(zip(ids, reasons, strict=True))
                if reason
            ]
            if pool.has_labels:
                labels.update(table["label"].to_pylist())
            if progress is not None:
                progress(first + len(ids), len(pool))
    named = {label: count for label, count in labels.items() if label and label.strip()}
    unknown = tuple(sorted(set(named) - set(pool.classes)))
    return CheckReport(
        rows=len(pool),
        kind=pool.kind,
        classes=pool.classes,
        label_counts={label: named[label] for label in (*pool.classes, *unknown) if label in named},
        missing_labels=sum(labels.values()) - sum(named.values()),
        unknown_labels=unknown,
        null_ids=null_ids,
        duplicate_ids=tuple(twice),
        unreadable=tuple(unreadable),
    )


def _why_unreadable(payload: bytes | None) -> str:
    try:
        images.load(payload)
    except DataError as error:
        return str(error)
    return ""


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
