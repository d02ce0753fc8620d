"""The oracle: labels from the pool's own `label` column, for simulations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xal.annotators.annotator import Annotator, Request
from xal.data.pool import Pool
from xal.errors import LabelError
from xal.feedback import Feedback


@dataclass(frozen=True, kw_only=True)
class Oracle(Annotator, name="oracle"):
    """Answers from the pool's own `label` column, for simulations."""

    simulated: ClassVar[bool] = True

    def annotate(self, request: Request) -> Mapping[str, str]:
        """All labels of the batch; LabelError if the pool has none, or has labels outside the classes."""
        return labels_of_pool(request)

    def problems(self, pool: Pool, feedback: Feedback | None, *, explains_concepts: bool) -> list[str]:
        """Problems of a pool without labels, or a feedback that needs corrections."""
        lines = without_labels(self.name, pool)
        if feedback is not None and feedback.learns:
            lines.append(
                "annotator: the oracle corrects nothing; use file, or simulated if the pool has a relevance column"
            )
        return lines


def labels_of_pool(request: Request) -> dict[str, str]:
    """The pool's own labels of the requested items, by id; raises LabelError as `Oracle.annotate` does."""
    if not request.pool.has_labels:
        raise LabelError("annotator: the oracle needs a pool with a `label` column; use annotator: file")
    rows = np.sort(np.array([item.row for item in request.items], np.int64))
    table = request.pool.read(rows, ["id", "label"])
    labels = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
    problems = [
        f"'{item}': label {label!r} is not one of the {len(request.label_space)} classes"
        for item, label in labels.items()
        if label not in request.label_space
    ]
    if problems:
        raise LabelError("the oracle cannot answer; list all classes in pool.classes:\n" + "\n".join(problems))
    return labels


def without_labels(name: str, pool: Pool) -> list[str]:
    """The problem of an annotator, by name, that answers from a pool without labels; [] if it has labels."""
    if pool.has_labels:
        return []
    return [f"annotator: '{name}' answers from the pool's labels, but it has none; use annotator: file"]
