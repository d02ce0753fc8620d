"""What EBAnO's indices say of a model: the thesis's figures 3.6 and 3.7, and global explanations of classes.

fmax is the feature of largest nPIR in an image's best explanation. The thesis (section 3.3.2) reads from its figures
that nPIR of fmax hardly differs between right and wrong predictions, that its nPIRP is lower for wrong ones, and that
nPIR goes with confidence. Here each claim has a number: the probability that a right prediction has the larger index
(0.5: no difference), and Spearman's rank correlation. A global explanation shows the features of many images predicted
as one class on the nPIR x nPIRP plane: top right is what speaks for this class alone.
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
CELLS = 15  # the plane shows at most one feature in each cell of a grid of so many rows and columns
APART = 0.2  # and none whose centre is nearer than this to another's
Doubles = npt.NDArray[np.float64]


def write_study(explained: Explained, folder: Path, classes: Sequence[str] | None = None) -> dict[str, float]:
    """Write the figures and summary.json into `folder`; `classes` get a global explanation each (None: all)."""
    folder.mkdir(parents=True, exist_ok=True)
    found = index_statistics(explained)
    with matplotlib.rc_context(STYLE):
        save(_distributions(explained), folder / "fmax-distributions.png")
        save(_against_confidence(explained), folder / "fmax-against-confidence.png")
        for number, name in enumerate(explained.classes):
            if classes is None or name in classes:
                safe = "".join(letter if letter.isalnum() else "-" for letter in name)
                save(_plane(explained, number), folder / f"class-{number:03d}-{safe}.png")
    strict = {name: None if np.isnan(value) else value for name, value in found.items()}
    (folder / "summary.json").write_text(json.dumps(strict, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return found


def strongest(explained: Explained) -> tuple[Doubles, Doubles, npt.NDArray[np.bool_], Floats]:
    """(nPIR of fmax, nPIRP of fmax, whether the prediction is right, confidence), each (n,)."""
    each = np.arange(len(explained.labels))
    fmax = explained.explanations.top_feature
    right = explained.probabilities.argmax(axis=1) == explained.labels
    npir, npirp = explained.explanations.npir[each, fmax], explained.explanations.npirp[each, fmax]
    return npir, npirp, right, explained.probabilities.max(axis=1)


def index_statistics(explained: Explained) -> dict[str, float]:
    """The numbers beside the figures; NaN where no prediction is right, or none wrong."""
    npir, npirp, right, confidence = strongest(explained)
    found: dict[str, float] = {"items": float(len(right)), "accuracy": float(right.mean())}
    for name, values in (("npir", npir), ("npirp", npirp)):
        for which, chosen in (("right", right), ("wrong", ~right)):
            found[f"{name}_median_{which}"] = float(np.median(values[chosen])) if chosen.any() else float("nan")
        both = right.any() and not right.all()
        larger = mannwhitneyu(values[right], values[~right]) if both else None
        pairs = int(right.sum()) * int((~right).sum())
        found[f"{name}_larger_if_right"] = float(larger.statistic) / pairs if larger else float("nan")
        found[f"{name}_larger_if_right_p"] = float(larger.pvalue) if larger else float("nan")
        varied = len(np.unique(values)) > 1 and len(np.unique(confidence)) > 1
        found[f"{name}_confidence_correlation"] = (
            float(spearmanr(values, confidence).statistic) if varied else float("nan")
        )
    return found


def _distributions(explained: Explained) -> Figure:
    """Figure 3.6."""
    npir, npirp, right, _ = strongest(explained)
    figure = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    bins: Any = np.linspace(-1, 1, 41)
    for axis, name, values in zip(figure.subplots(1, 2), ("nPIR", "nPIRP"), (npir, npirp), strict=True):
        for label, colour, chosen in (("right", RIGHT, right), ("wrong", WRONG, ~right)):
            if chosen.any():
                weights = np.full(int(chosen.sum()), 1 / chosen.sum())
                axis.hist(values[chosen], bins, weights=weights, color=colour, alpha=0.55, label=label)
        axis.set_xlabel(f"{name} of the most influential feature")
        axis.set_ylabel("share of images")
        axis.set_xticks([-1, -0.5, 0, 0.5, 1])
        axis.legend(frameon=False, title="prediction")
    return figure


def _against_confidence(explained: Explained) -> Figure:
    """Figure 3.7."""
    npir, npirp, right, confidence = strongest(explained)
    figure = Figure(figsize=(9, 3.8), dpi=110, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axis, label, chosen in zip(panels, ("wrong", "right"), (~right, right), strict=True):
        for name, colour, values in (("nPIR", "#059669", npir), ("nPIRP", "#7c3aed", npirp)):
            axis.scatter(confidence[chosen], values[chosen], s=7, alpha=0.5, color=colour, label=name, linewidths=0)
        axis.set_xlim(0, 1.02)
        axis.set_ylim(-1.05, 1.05)
        axis.set_title(f"{label}: {int(chosen.sum())} images", fontsize=11)
        axis.set_xlabel("largest softmax output")
    panels[0].set_ylabel("index of the most influential feature")
    panels[1].legend(frameon=False, loc="lower right")
    return figure


def _plane(explained: Explained, number: int) -> Figure:
    """The global explanation of a class: every feature of the images predicted as it, some of them shown."""
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
        f"{explained.classes[number]}: {len(x)} features of {len(chosen)} images predicted so\n"
        "blue frame: rightly, red: wrongly; the feature in full, the rest of the image faded",
        fontsize=11,
    )
    return figure


def _spread(x: Doubles, y: Doubles) -> list[int]:
    """Points nearest to the centres of a grid's cells whose pictures do not cover each other."""
    cells = [np.clip(((values + 1) / 2 * CELLS).astype(int), 0, CELLS - 1) for values in (x, y)]
    centres = [(cell + 0.5) / CELLS * 2 - 1 for cell in cells]
    order = np.hypot(x - centres[0], y - centres[1]).argsort(kind="stable")
    _, first = np.unique((cells[0] * CELLS + cells[1])[order], return_index=True)
    shown: list[int] = []
    for place in order[np.sort(first)].tolist():
        if all(max(abs(x[place] - x[other]), abs(y[place] - y[other])) > APART for other in shown):
            shown.append(place)
    return shown
