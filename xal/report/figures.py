"""The report's figures as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from xal.core.plotting import svg
from xal.evaluation.curves import Curves, interval
from xal.store.run import Run

COLOURS = ("#c2410c", "#2563eb", "#64748b", "#059669", "#7c3aed", "#eab308", "#db2777", "#0891b2")
STYLE: Any = {
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#94a3b8",
    "axes.labelcolor": "#334155",
    "xtick.color": "#64748b",
    "ytick.color": "#64748b",
    "axes.grid": True,
    "grid.color": "#e2e8f0",
    "svg.hashsalt": "xal",
}


def learning_curves(by_arm: Curves, measure: str) -> str:
    """Mean of a metric over seeds against labels spent, with a 95% interval as a band if there are several seeds."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 4.2), layout="constrained")
        axis = figure.subplots()
        for colour, (arm, by_seed) in zip(_colours(len(by_arm)), by_arm.items(), strict=True):
            curves = list(by_seed.values())
            shortest = min((len(values) for _, values in curves), default=0)
            if not shortest:
                continue
            labels = curves[0][0][:shortest]
            points = [interval([values[i] for _, values in curves]) for i in range(shortest)]
            mean = np.array([point.mean for point in points])
            half = np.array([point.half for point in points])
            axis.plot(labels, mean, color=colour, marker="o", markersize=4.5, linewidth=2, label=arm)
            if len(curves) > 1:
                axis.fill_between(
                    labels, mean - half, mean + half, color=colour, alpha=min(0.14, 0.5 / len(by_arm)), linewidth=0
                )
        axis.set_xlabel("labels spent")
        axis.set_ylabel(measure.replace("_", " "))
        axis.legend(frameon=False)
        return svg(figure)


def class_balance(arms: Mapping[str, Sequence[Run]], classes: Sequence[str]) -> str:
    """Bar chart of labels by class: a group for each class, a bar for each arm (mean over its seeds); "" for none."""
    if not classes:
        return ""  # nobody has labelled yet
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 3.2), layout="constrained")
        axis = figure.subplots()
        width = 0.8 / max(len(arms), 1)
        positions = np.arange(len(classes))
        for i, (colour, (arm, runs)) in enumerate(zip(_colours(len(arms)), arms.items(), strict=True)):
            counts = [[sum(item.label == name for item in run.queried) for name in classes] for run in runs]
            left = positions + (i - (len(arms) - 1) / 2) * width
            axis.bar(left, np.mean(counts, axis=0), width, color=colour, label=arm)
        axis.set_xticks(positions, classes, rotation=35 if max(map(len, classes)) > 5 else 0, ha="right")
        axis.set_ylabel("labels")
        axis.grid(axis="x", visible=False)
        axis.legend(frameon=False, ncols=len(arms), loc="lower center", bbox_to_anchor=(0.5, 1.0))
        return svg(figure)


def _colours(number: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(number)]
