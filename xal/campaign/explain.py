"""Explain an image file, a text, or an item of the pool by a run's latest model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from xal.campaign.trained_run import TrainedRun, open_trained_run
from xal.core.registry import nearest
from xal.data.decode import payload_of
from xal.engine.worker import on_device
from xal.errors import DataError, NumericalError, RunError
from xal.explainers import Explainer
from xal.explainers.visualization import page_of, panel, stacked, summary
from xal.types import Explanations, dense

Target = int | Literal["all"] | None
"""The index of the class to explain; "all": each class; None: the predicted class."""


def explain_image(directory: Path, image: Path, of: str | None = None, every: bool = False) -> tuple[bytes, str]:
    """Explain an image file: (PNG, summary with one line per class explained).

    of: the class to explain; None: the predicted class; every: explain each class instead. Raises DataError for a file
    that is not an image, RunError for a run without a model or an unknown class.
    """
    run = open_trained_run(directory)
    target = _target(run, of, every)
    if run.model.kind != "image":
        raise RunError(f"{directory} is a run on {run.model.kind}; use --text or --item")
    if not image.is_file():
        raise DataError(f"{image}: no such file")
    return _rendered(run, image.read_bytes(), f"{image} cannot be read as an image", target)


def explain_text(directory: Path, text: str, of: str | None = None, every: bool = False) -> tuple[bytes, str]:
    """Explain a text: (HTML with the words marked, summary); arguments as in `explain_image`."""
    run = open_trained_run(directory)
    target = _target(run, of, every)
    if run.model.kind != "text":
        raise RunError(f"{directory} is a run on {run.model.kind}; --text needs a run on texts")
    return _rendered(run, text, "--text: the text is blank", target)


def explain_item(directory: Path, item: str, of: str | None = None, every: bool = False) -> tuple[bytes, str]:
    """Explain an item of the run's pool: (PNG of an image, else HTML; summary); arguments as in `explain_image`.

    Raises DataError for an id that the pool does not have.
    """
    run = open_trained_run(directory)
    target = _target(run, of, every)
    pool = run.pools.pool
    for first, table in pool.scan(["id"]):
        position = pc.index(table["id"], item).as_py()  # -1: not in this part of the pool
        if position >= 0:
            payload = pool.read(np.array([first + position]), [pool.kind])[pool.kind]
            return _rendered(run, payload, f"item '{item}' cannot be read", target, pool.names)
    raise DataError(f"--item: the pool {pool.folder} has no item '{item}'")


def _rendered(
    run: TrainedRun, content: Any, problem: str, target: Target, names: Sequence[str] = ()
) -> tuple[bytes, str]:
    """(PNG or HTML, summary). content: an undecoded item, or a column of one; problem: the error if unreadable."""
    kind = run.model.kind
    column = content if isinstance(content, pa.ChunkedArray) else pa.chunked_array([[content]])
    payload, readable = payload_of(column, kind, run.shape)
    if not readable.all():
        raise DataError(problem)
    pages, lines = [], []
    for explanation in explain_inputs(run, payload, target):
        page, line = _page_and_line(run, payload[0], explanation, names)
        pages.append(page)
        lines.append(f"{line}{_completeness(run.explainer, explanation)} (model of round {run.round})")
    return (stacked(pages) if kind == "image" else b"".join(pages)), "\n".join(lines)


def explain_inputs(run: TrainedRun, inputs: Any, target: Target = None) -> tuple[Explanations, ...]:
    """Explain decoded inputs (b, ...): one `Explanations` of the target class, or with "all" one per class."""
    worker = run.worker()
    classifier, inputs = worker.classifier(run.ref), on_device(inputs, "cpu")
    if target == "all":
        return run.explainer.explain_all(classifier, inputs, len(run.label_space), worker.baselines)
    targets = None if target is None else torch.full((len(inputs),), target, dtype=torch.int64)
    return (run.explainer.explain(classifier, inputs, targets, worker.baselines),)


def _page_and_line(run: TrainedRun, payload: Any, explanation: Explanations, names: Sequence[str]) -> tuple[bytes, str]:
    """(PNG or HTML, a line with the class, its probability and the top features) of one explanation."""
    line = f"{run.label_space.classes[int(explanation.explained_class[0])]}: p = {explanation.probability[0]:.3f}"
    if run.model.kind != "image":
        page = page_of(payload, explanation, f"{line} (model of round {run.round})", names)
        return page.encode(), f"{line}: {summary(payload, explanation, names)}"
    if explanation.npirp is not None:
        top = explanation.top_feature[0]
        line += (
            f"; top of {explanation.n_features[0]} features: nPIR {explanation.npir[0, top]:+.3f}, "
            f"nPIRP {explanation.npirp[0, top]:+.3f}"
        )
    return panel(payload, explanation, run.label_space.classes), line


def _completeness(explainer: Explainer, explanation: Explanations) -> str:
    """For a complete explainer the sum base + attributions = output, or the error of its check; else ''."""
    if explainer.tolerance is None or explanation.base is None or explanation.output is None:
        return ""
    try:
        explainer.check(explanation)
    except NumericalError as error:
        return f"; {error}"
    total = float(np.nansum(dense(explanation.attributions)))
    return f"; base {explanation.base[0]:.3f} {total:+.3f} = {explanation.output[0]:.3f}"


def _target(run: TrainedRun, of: str | None, every: bool) -> Target:
    if every:
        return "all"
    if of is not None and of not in run.label_space.classes:
        raise RunError(f"--class: '{of}' is not a class of the run{nearest(of, run.label_space.classes)}")
    return None if of is None else run.label_space.classes.index(of)
