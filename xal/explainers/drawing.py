"""Draw an explanation: the image, its interpretable features, and the nPIR of each as heat."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure

from xal.types import Explanations

FEATURES = colormaps["Set2"]
HEAT = colormaps["coolwarm"]


def displayable(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(c, h, w) -> (h, w, 3)."""
    rgb = np.repeat(image, 3, axis=0) if image.shape[0] == 1 else image
    return np.ascontiguousarray(rgb.transpose(1, 2, 0))


def overlay(image: npt.NDArray[np.uint8], colours: npt.NDArray[Any], strength: float = 0.6) -> npt.NDArray[np.uint8]:
    """Colours (h, w, 3) in [0, 1] over the greyed image."""
    grey = displayable(image).mean(axis=2, keepdims=True) / 255
    mixed: npt.NDArray[np.uint8] = ((strength * colours + (1 - strength) * grey) * 255).astype(np.uint8)
    return mixed


def feature_map(image: npt.NDArray[np.uint8], explanation: Explanations) -> npt.NDArray[np.uint8]:
    """(h, w, 3) one colour an interpretable feature."""
    return overlay(image, FEATURES(explanation.segments[0])[..., :3])


def heat_map(image: npt.NDArray[np.uint8], explanation: Explanations) -> npt.NDArray[np.uint8]:
    """(h, w, 3) nPIR: red supports the explained class, blue speaks against it, grey does neither."""
    return overlay(image, HEAT((explanation.heat[0] + 1) / 2)[..., :3], strength=0.75)


def panel(image: npt.NDArray[np.uint8], explanation: Explanations, classes: Sequence[str]) -> bytes:
    """PNG of one explanation: original, features, nPIR heat map, and a table of the indices."""
    figure = Figure(figsize=(9.2, 2.9), dpi=110, layout="constrained")
    axes = figure.subplots(1, 4, width_ratios=[1, 1, 1, 1.1])
    name = classes[int(explanation.explained_class[0])]
    titles = ("image", f"{int(explanation.k[0])} interpretable features", "nPIR")
    views = (displayable(image), feature_map(image, explanation), heat_map(image, explanation))
    for axis, title, view in zip(axes, titles, views, strict=False):
        axis.imshow(view, interpolation="nearest")
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
    table = axes[3]
    table.set_axis_off()
    table.set_title(f"{name}, p = {explanation.probability[0]:.2f}", fontsize=10)
    for line in range(int(explanation.k[0])):
        y = 0.86 - 0.16 * line
        bold = "bold" if line == explanation.strongest[0] else "normal"
        table.scatter([0.06], [y + 0.02], color=[FEATURES(line)], s=90, marker="s")
        text = f"nPIR {explanation.npir[0, line]:+.2f}   nPIRP {explanation.npirp[0, line]:+.2f}"
        table.text(0.16, y, text, fontsize=9, weight=bold, family="monospace")
    table.set_xlim(0, 1)
    table.set_ylim(0, 1)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
