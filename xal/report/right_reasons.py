"""Whether a model is right for the right reasons, by round; and corrections as text and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xal.explainers.components import Naming, mask_of
from xal.explainers.visualization import displayable
from xal.store.run import Run
from xal.types import Correction, Explanations, Form

ANSWERS = ("right_for_right", "right_for_wrong", "wrong")
EXPLANATION_METRICS = ("explanation_f1", "explanation_recall", "on_irrelevant", "explanation_loss")
MARK = np.array([22, 163, 74])  # green


def right_reasons_table(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One row for each round, of means over the runs; empty if the recipe has no feedback.

    A row has the shares of ANSWERS, the number of corrections, and the EXPLANATION_METRICS on queries and test.
    """
    rows = []
    for round in sorted({round for run in runs for round in run.of("label")}):
        labelled = [run.of("label")[round].metrics for run in runs if round in run.of("label")]
        labelled = [metrics for metrics in labelled if "right_for_right" in metrics]
        if not labelled:
            continue
        totals = [sum(metrics[name] for name in ANSWERS) for metrics in labelled]
        row: dict[str, Any] = {
            "round": round,
            "corrections": float(np.mean([metrics["corrections"] for metrics in labelled])),
        }
        for name in ANSWERS:
            shares = [metrics[name] / total for metrics, total in zip(labelled, totals, strict=True) if total]
            row[name] = float(np.mean(shares)) if shares else None
        tested = [run.of("evaluate")[round].metrics for run in runs if round in run.of("evaluate")]
        for name in EXPLANATION_METRICS:
            for source, steps in (("queries", labelled), ("test", tested)):
                values = [metrics[name] for metrics in steps if name in metrics]
                row[f"{name}_{source}"] = float(np.mean(values)) if values else None
        rows.append(row)
    return rows


def correction_text(correction: Correction, form: Form, explanation: Explanations, names: Sequence[str]) -> str:
    """A correction as text, such as `wrong: good; plot / missed: dull`; more than 6 components are only counted."""
    naming = Naming(form, explanation, names)
    parts = []
    for kind in ("wrong", "missed", "against"):
        components = getattr(correction, kind)
        if components:
            listed = "; ".join(naming.name(component) for component in components if component in naming)
            parts.append(f"{kind}: {listed if len(components) <= 6 else f'{len(components)} components'}")
    return " / ".join(parts)


def corrected_view(
    image: npt.NDArray[np.uint8], correction: Correction, explanation: Explanations
) -> npt.NDArray[np.uint8]:
    """(h, w, 3) uint8 image, green where the correction says that it does not matter."""
    view = displayable(image).astype(np.float64)
    wrong = mask_of(correction.wrong, image.shape, explanation)
    view[wrong] = 0.35 * view[wrong] + 0.65 * MARK
    return np.asarray(view, np.uint8)
