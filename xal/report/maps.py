"""Where models look: the mean explanation of each class (ALEX, figure 3, over many images in place of one)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from xal.campaign.explained_images import Explained
from xal.core.plotting import save
from xal.explainers.visualization import HEAT
from xal.report.figures import STYLE


def write_maps(explained: Mapping[str, Explained], destination: Path) -> Path:
    """A row for each arm, a column for each class: the mean attribution of each pixel over the images of that class.

    Of the predicted class, right or wrong; red speaks for it. Each map has its own scale. The first row is the mean
    image.
    """
    first = next(iter(explained.values()))
    columns = len(first.classes)
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(1.1 * columns + 1.2, 1.15 * (len(explained) + 1)), dpi=110, layout="constrained")
        axes = figure.subplots(len(explained) + 1, columns, squeeze=False)
        for number, name in enumerate(first.classes):
            mine = first.labels == number
            if mine.any():
                axes[0, number].imshow(first.images[mine].mean(axis=(0, 1)), cmap="gray_r")
            axes[0, number].set_title(name, fontsize=9)
        for row, (arm, found) in enumerate(explained.items(), 1):
            heat = found.explanations.heat
            for number in range(columns):
                mine = found.labels == number
                if mine.any():
                    mean = heat[mine].mean(axis=0)
                    scale = float(np.abs(mean).max()) or 1.0
                    axes[row, number].imshow(mean, cmap=HEAT, vmin=-scale, vmax=scale)
            right = float((found.probabilities.argmax(axis=1) == found.labels).mean())
            axes[row, 0].set_ylabel(f"{arm.replace('_', ' ')}\n{right:.3f}", fontsize=8)
        for axis in axes.flat:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        figure.supxlabel(
            "red: speaks for the predicted class, blue: against it; each map on a scale of its own", fontsize=7
        )
        save(figure, destination)
    return destination
