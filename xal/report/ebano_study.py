"""A study of a model with EBAnO's indices: the thesis's figures 3.6 and 3.7, and global explanations of classes.

fmax is the feature with the largest nPIR in an image's best explanation. The thesis (section 3.3.2) claims from its
figures that the nPIR of fmax hardly differs between right and wrong predictions, that its nPIRP is lower for wrong
ones, and that nPIR increases with confidence. This study measures each claim: by the probability that a right
prediction has the larger index (0.5: no difference), and by Spearman's rank correlation. A global explanation shows
features of many images that were predicted as one class, on the nPIR x nPIRP plane: features at the top right speak for
this class alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from scipy.stats import mannwhitneyu, spearmanr

from xal.campaign.explained_images import Explained
from xal.core.plotting import save
from xal.explainers.visualization import displayable
from xal.report.figures import STYLE
from xal.types import Floats

RIGHT, WRONG = "#2563eb", "#c2410c"
CELLS = 15  # rows and columns of the plane's grid; each cell shows at most one feature
APART = 0.2  # smallest distance between the centres of two pictures, in nPIR or nPIRP
Doubles = npt.NDArray[np.float64]


def write_study(explained: Explained, folder: Path, classes: Sequence[str] | None = None) -> dict[str, float]:
    """Write the figures and summary.json into `folder`; returns `index_statistics`.

    classes: names of the classes that get a global explanation; None: all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    statistics = index_statistics(explained)
    with matplotlib.rc_context(STYLE):
        save(_distributions(explained), folder / "fmax-distributions.png")
        save(_against_confidence(explained), folder / "fmax-against-confidence.png")
        for number, name in enumerate(explained.classes):
            if classes is None or name in classes:
                slug = "".join(letter if letter.isalnum() else "-" for letter in name)
                save(_plane(explained, number), folder / f"class-{number:03d}-{slug}.png")
    without_nan = {name: None if np.isnan(value) else value for name, value in statistics.items()}
    (folder / "summary.json").write_text(json.dumps(without_nan, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return statistics


def fmax_indices(explained: Explained) -> tuple[Doubles, Doubles, npt.NDArray[np.bool_], Floats]:
    """(nPIR of fmax, nPIRP of fmax, whether the prediction is right, confidence), each (n,)."""
    images = np.arange(len(explained.labels))
    fmax = explained.explanations.top_feature
    right = explained.probabilities.argmax(axis=1) == explained.labels
    npir, npirp = explained.explanations.npir[images, fmax], explained.explanations.npirp[images, fmax]
    return npir, npirp, right, explained.probabilities.max(axis=1)


def index_statistics(explained: Explained) -> dict[str, float]:
    """The study's numbers by name; NaN if no prediction is right, or none wrong."""
    npir, npirp, right, confidence = fmax_indices(explained)
    statistics: dict[str, float] = {"items": float(len(right)), "accuracy": float(right.mean())}
    for name, values in (("npir", npir), ("npirp", npirp)):
        for group, mask in (("right", right), ("wrong", ~right)):
            statistics[f"{name}_median_{group}"] = float(np.median(values[mask])) if mask.any() else float("nan")
        both = right.any() and not right.all()
        larger = mannwhitneyu(values[right], values[~right]) if both else None
        pairs = int(right.sum()) * int((~right).sum())
        statistics[f"{name}_larger_if_right"] = float(larger.statistic) / pairs if larger else float("nan")
        statistics[f"{name}_larger_if_right_p"] = float(larger.pvalue) if larger else float("nan")
        varied = len(np.unique(values)) > 1 and len(np.unique(confidence)) > 1
        statistics[f"{name}_confidence_correlation"] = (
            float(spearmanr(values, confidence).statistic) if varied else float("nan")
        )
    return statistics


def _distributions(explained: Explained) -> Figure:
    """Figure 3.6: histograms of both indices of fmax, by whether the prediction is right."""
    npir, npirp, right, _ = fmax_indices(explained)
    figure = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    bins: Any = np.linspace(-1, 1, 41)
    for axis, name, values in zip(figure.subplots(1, 2), ("nPIR", "nPIRP"), (npir, npirp), strict=True):
        for label, colour, mask in (("right", RIGHT, right), ("wrong", WRONG, ~right)):
            if mask.any():
                weights = np.full(int(mask.sum()), 1 / mask.sum())
                axis.hist(values[mask], bins, weights=weights, color=colour, alpha=0.55, label=label)
        axis.set_xlabel(f"{name} of the most influential feature")
        axis.set_ylabel("share of images")
        axis.set_xticks([-1, -0.5, 0, 0.5, 1])
        axis.legend(frameon=False, title="prediction")
    return figure


def _against_confidence(explained: Explained) -> Figure:
    """Figure 3.7: both indices of fmax against confidence, by whether the prediction is right."""
    npir, npirp, right, confidence = fmax_indices(explained)
    figure = Figure(figsize=(9, 3.8), dpi=110, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axis, label, mask in zip(panels, ("wrong", "right"), (~right, right), strict=True):
        for name, colour, values in (("nPIR", "#059669", npir), ("nPIRP", "#7c3aed", npirp)):
            axis.scatter(confidence[mask], values[mask], s=7, alpha=0.5, color=colour, label=name, linewidths=0)
        axis.set_xlim(0, 1.02)
        axis.set_ylim(-1.05, 1.05)
        axis.set_title(f"{label}: {int(mask.sum())} images", fontsize=11)
        axis.set_xlabel("largest softmax output")
    panels[0].set_ylabel("index of the most influential feature")
    panels[1].legend(frameon=False, loc="lower right")
    return figure


def _plane(explained: Explained, number: int) -> Figure:
    """Global explanation of a class: a dot for each feature of the images predicted as it, and pictures of some."""
    chosen = np.flatnonzero(explained.explanations.explained_class == number)
    figure = Figure(figsize=(7.4, 7.4), dpi=110, layout="constrained")
    axis = figure.subplots()
    image, feature = np.nonzero(~np.isnan(explained.explanations.npir[chosen]))
    image = chosen[image]
    x, y = explained.explanations.npir[image, feature], explained.explanations.npirp[image, feature]
    axis.scatter(x, y, s=9, color="#94a3b8", linewidths=0, zorder=1)
    zoom = 36 / max(explained.images.shape[2:])
    for shown in _spread(x, y):
        mask = explained.explanations.segments[image[shown]] == feature[shown]
        picture = displayable(explained.images[image[shown]])
        faded = np.where(mask[..., None], picture, (0.2 * picture + 0.8 * 255).astype(np.uint8))
        right = explained.labels[image[shown]] == number
        box = AnnotationBbox(
            OffsetImage(faded, zoom=zoom, interpolation="nearest"),
            (x[shown], y[shown]),
            pad=0.12,
            bboxprops={"edgecolor": RIGHT if right else WRONG, "linewidth": 1.4},
        )
        axis.add_artist(box)
    axis.set_xlim(-1.12, 1.12)
    axis.set_ylim(-1.12, 1.12)
    axis.axhline(0, color="#cbd5e1", linewidth=0.8, zorder=0)
    axis.axvline(0, color="#cbd5e1", linewidth=0.8, zorder=0)
    axis.set_xlabel("nPIR: does it speak for the class?")
    axis.set_ylabel("nPIRP: for this class alone?")
    axis.set_title(
        f"{explained.classes[number]}: {len(x)} features of {len(chosen)} images with this prediction\n"
        "blue frame: right prediction, red: wrong; the rest of each image is faded",
        fontsize=11,
    )
    return figure


def _spread(x: Doubles, y: Doubles) -> list[int]:
    """Indices of the points nearest to the centres of the grid's cells, without those whose pictures would overlap."""
    cells = [np.clip(((values + 1) / 2 * CELLS).astype(int), 0, CELLS - 1) for values in (x, y)]
    centres = [(cell + 0.5) / CELLS * 2 - 1 for cell in cells]
    order = np.hypot(x - centres[0], y - centres[1]).argsort(kind="stable")
    _, first = np.unique((cells[0] * CELLS + cells[1])[order], return_index=True)
    shown: list[int] = []
    for point in order[np.sort(first)].tolist():
        if all(max(abs(x[point] - x[other]), abs(y[point] - y[other])) > APART for other in shown):
            shown.append(point)
    return shown
