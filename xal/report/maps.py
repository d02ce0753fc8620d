"""Mean explanations of each class (as ALEX, figure 3, but over many images instead of one)."""

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
    """Draw the mean attribution of each pixel over the images of a class: a row for each arm, a column for each class.

    Attributions are for the predicted class, right or wrong; red speaks for it. Each map has its own scale. The first
    row shows the mean images.
    """
    first = next(iter(explained.values()))
    columns = len(first.classes)
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(1.1 * columns + 1.2, 1.15 * (len(explained) + 1)), dpi=110, layout="constrained")
        axes = figure.subplots(len(explained) + 1, columns, squeeze=False)
        for number, name in enumerate(first.classes):
            of_class = first.labels == number
            if of_class.any():
                axes[0, number].imshow(first.images[of_class].mean(axis=(0, 1)), cmap="gray_r")
            axes[0, number].set_title(name, fontsize=9)
        for row, (arm, explained_images) in enumerate(explained.items(), 1):
            heat = explained_images.explanations.heat
            for number in range(columns):
                of_class = explained_images.labels == number
                if of_class.any():
                    mean = heat[of_class].mean(axis=0)
                    scale = float(np.abs(mean).max()) or 1.0
                    axes[row, number].imshow(mean, cmap=HEAT, vmin=-scale, vmax=scale)
            predicted = explained_images.probabilities.argmax(axis=1)
            accuracy = float((predicted == explained_images.labels).mean())
            axes[row, 0].set_ylabel(f"{arm.replace('_', ' ')}\n{accuracy:.3f}", fontsize=8)
        for axis in axes.flat:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        figure.supxlabel(
            "red: speaks for the predicted class, blue: against it; each map on a scale of its own", fontsize=7
        )
        save(figure, destination)
    return destination
