"""Which of the two rules of the colors data a linear model has learned (CAIPI, figure 2).

The figure shows the F1 of the shown explanations over the queries, and the least-squares weights of the two rules in
w / |w|. In the space of [pixel i = pixel j], rule 0 is 1 on the six pairs of corners, and rule 1 is -1 on the three
pairs of the top middle pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from xal.core.plotting import save
from xal.datasets.colors import CORNERS, TOP
from xal.errors import RunError
from xal.evaluation.curves import interval
from xal.report.figures import COLOURS, STYLE
from xal.store.artefacts import WEIGHTS, read_weights
from xal.store.run import Run

PAIRS = np.triu_indices(25, 1)
WINDOW = 10  # number of queries in the moving average of F1


def rule_vectors() -> npt.NDArray[np.float64]:
    """(2, 300) the rules as vectors over the pairs of pixels."""
    i, j = PAIRS
    zero = np.isin(i, CORNERS) & np.isin(j, CORNERS)
    one = np.isin(i, TOP) & np.isin(j, TOP)
    return np.stack([zero.astype(np.float64), -one.astype(np.float64)])


def decomposed(run: Run) -> npt.NDArray[np.float64]:
    """(rounds, 2) least-squares weights of the rules in w / |w| after each training; RunError for other models."""
    rows = []
    for step in run.of("train").values():
        weights = read_weights(run.directory / (step.artefact or "") / WEIGHTS)
        if weights.get("head.w", np.empty(0)).shape != (2, len(PAIRS[0])):
            raise RunError(f"{run.directory}: rules are found in linear models only, over equal_pairs of 25 columns")
        w = weights["head.w"][1]
        length = float(np.linalg.norm(w)) or 1.0
        rows.append(np.linalg.lstsq(rule_vectors().T, w / length, rcond=None)[0])
    return np.array(rows)


def write_rules(arms: Mapping[str, Sequence[Run]], destination: Path) -> tuple[Path, list[dict[str, Any]]]:
    """Write the figure as SVG; returns its path and a row for each arm: final F1 and rule weights, with intervals."""
    rows = []
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        for colour, (arm, runs) in zip(COLOURS, arms.items(), strict=False):
            f1 = _truncated([_smooth(run.curve("label.explanation_f1")[1]) for run in runs])
            weights = np.stack([decomposed(run) for run in runs])
            _band(left, np.arange(1, f1.shape[1] + 1), f1, colour, arm, "-")
            for rule, style in ((0, "-"), (1, "--")):
                _band(right, np.arange(weights.shape[1]), weights[:, :, rule], colour, f"{arm}, rule {rule}", style)
            ends = {f"rule {rule}": interval(weights[:, -1, rule]) for rule in (0, 1)}
            rows.append({"arm": arm, f"F1 of the last {WINDOW}": interval(f1[:, -1])} | ends)
        for axis, name in ((left, f"F1 of the shown pixels, mean of {WINDOW} queries"), (right, "rule in w / |w|")):
            axis.set_xlabel("round")
            axis.set_ylabel(name, fontsize=8)
            axis.legend(frameon=False, fontsize=7)
        save(figure, destination)
    return destination, rows


def _smooth(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Moving average over the last WINDOW values."""
    array = np.array(values, np.float64)
    return np.array([array[max(0, end - WINDOW) : end].mean() for end in range(1, len(array) + 1)])


def _truncated(curves: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """The curves as one array, cut to the shortest."""
    shortest = min(map(len, curves))
    return np.stack([curve[:shortest] for curve in curves])


def _band(axis: Any, x: Any, values: npt.NDArray[np.float64], colour: str, name: str, style: str) -> None:
    points = [interval(column) for column in values.T]
    mean, half = np.array([point.mean for point in points]), np.array([point.half for point in points])
    axis.plot(x, mean, style, color=colour, label=name, linewidth=1.6)
    if len(values) > 1:
        axis.fill_between(x, mean - half, mean + half, color=colour, alpha=0.15, linewidth=0)
