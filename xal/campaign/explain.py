"""Explain one item by the latest model of a run: an image file, a text, or an item of the pool."""

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
"""The class to explain; None: the predicted one."""


def explain_image(directory: Path, image: Path, of: str | None = None, every: bool = False) -> tuple[bytes, str]:
    """(PNG, a line of text): the explanation of the predicted class, of class `of`, or of `every` class, a line each.

    Raises DataError for a file that is no image, RunError for a run without a model, and for an unknown class.
    """
    run = open_trained_run(directory)
    target = _target(run, of, every)
    if run.model.kind != "image":
        raise RunError(f"{directory} is a run on {run.model.kind}; give what to explain with --text or --item")
    if not image.is_file():
        raise DataError(f"no file {image}")
    return _explained(run, image.read_bytes(), f"{image} cannot be read as an image", target)


def explain_text(directory: Path, text: str, of: str | None = None, every: bool = False) -> tuple[bytes, str]:
    """(HTML with the words marked, text), as `explain_image`."""
    run = open_trained_run(directory)
    target = _target(run, of, every)
    if run.model.kind != "text":
        raise RunError(f"{directory} is a run on {run.model.kind}, not on texts")
    return _explained(run, text, "--text: the text is blank", target)


def explain_item(directory: Path, item: str, of: str | None = None, every: bool = False) -> tuple[bytes, str]:
    """(PNG of an image, else HTML; text) for an item of the run's pool, as `explain_image`."""
    run = open_trained_run(directory)
    target = _target(run, of, every)
    pool = run.pools.pool
    for first, table in pool.scan(["id"]):
        found = pc.index(table["id"], item).as_py()
        if found >= 0:
            payload = pool.read(np.array([first + found]), [pool.kind])[pool.kind]
            return _explained(run, payload, f"item '{item}' cannot be read", target, pool.names)
    raise DataError(f"--item: the pool {pool.folder} has no item '{item}'")


def _explained(
    run: TrainedRun, content: Any, trouble: str, target: Target, names: Sequence[str] = ()
) -> tuple[bytes, str]:
    kind = run.model.kind
    column = content if isinstance(content, pa.ChunkedArray) else pa.chunked_array([[content]])
    payload, good = payload_of(column, kind, run.shape)
    if not good.all():
        raise DataError(trouble)
    explanations = explain_inputs(run, payload, target)
    shown, lines = [], []
    for explanation in explanations:
        content, line = _shown(run, payload[0], explanation, names)
        shown.append(content)
        lines.append(f"{line}{_balance(run.explainer, explanation)} (model of round {run.round})")
    return (stacked(shown) if kind == "image" else b"".join(shown)), "\n".join(lines)


def explain_inputs(run: TrainedRun, inputs: Any, target: Target = None) -> tuple[Explanations, ...]:
    """Explanations of decoded inputs (b, ...), of one class, or one of each class."""
    worker = run.worker()
    classifier, inputs = worker.classifier(run.ref), on_device(inputs, "cpu")
    if target == "all":
        return run.explainer.explain_all(classifier, inputs, len(run.label_space), worker.baselines)
    chosen = None if target is None else torch.full((len(inputs),), target, dtype=torch.int64)
    return (run.explainer.explain(classifier, inputs, chosen, worker.baselines),)


def _shown(run: TrainedRun, payload: Any, explanation: Explanations, names: Sequence[str]) -> tuple[bytes, str]:
    """(PNG or HTML, a line)."""
    line = f"{run.label_space.classes[int(explanation.explained_class[0])]}: p = {explanation.probability[0]:.3f}"
    if run.model.kind != "image":
        page = page_of(payload, explanation, f"{line} (model of round {run.round})", names)
        return page.encode(), f"{line}: {summary(payload, explanation, names)}"
    if explanation.npirp is not None:
        top = explanation.top_feature[0]
        line += (
            f"; strongest of {explanation.n_features[0]} features: nPIR {explanation.npir[0, top]:+.3f}, "
            f"nPIRP {explanation.npirp[0, top]:+.3f}"
        )
    return panel(payload, explanation, run.label_space.classes), line


def _balance(explainer: Explainer, explanation: Explanations) -> str:
    """Of a complete explainer the sum, or that it fails the check."""
    if explainer.tolerance is None or explanation.base is None or explanation.output is None:
        return ""
    try:
        explainer.check(explanation)
    except NumericalError as error:
        return f"; {error}"
    summed = float(np.nansum(dense(explanation.attributions)))
    return f"; {explanation.base[0]:.3f} without it {summed:+.3f} = {explanation.output[0]:.3f}"


def _target(run: TrainedRun, of: str | None, every: bool) -> Target:
    if every:
        return "all"
    if of is not None and of not in run.label_space.classes:
        raise RunError(f"--class: '{of}' is not a class{nearest(of, run.label_space.classes)}")
    return None if of is None else run.label_space.classes.index(of)
