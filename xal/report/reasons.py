"""Pictures of what a model looks at and should not: heat maps of a few images, a row for each arm, with the share of
the attribution on what does not matter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from xal.campaign.explained_images import Explained, off_reasons
from xal.core.plotting import save
from xal.explainers.visualization import HEAT
from xal.report.figures import STYLE

SHOWN = 8  # images


def write_reasons(explained: Mapping[str, Explained], destination: Path) -> tuple[Path, dict[str, float]]:
    """(the PNG, the mean share by arm). All arms have explained the same images."""
    shares = {arm: off_reasons(found) for arm, found in explained.items()}
    first = next(iter(explained.values()))
    columns = min(SHOWN, len(first.images))
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(1.1 * columns + 1.4, 1.25 * (len(explained) + 1)), dpi=110, layout="constrained")
        axes = figure.subplots(len(explained) + 1, columns, squeeze=False)
        where = next(iter(shares.values()))[1]
        for column in range(columns):
            axes[0, column].imshow(first.images[column].mean(axis=0), cmap="gray")
            axes[0, column].contour(where[column], levels=[0.5], colors="#22c55e", linewidths=1)
            axes[0, column].set_title(first.classes[first.labels[column]], fontsize=8)
        for row, (arm, found) in enumerate(explained.items(), 1):
            heat = found.explanations.heat
            for column in range(columns):
                scale = float(np.abs(heat[column]).max()) or 1.0
                axes[row, column].imshow(heat[column], cmap=HEAT, vmin=-scale, vmax=scale)
                axes[row, column].set_title(f"{shares[arm][0][column]:.0%}", fontsize=7, pad=2)
            right = float((found.probabilities.argmax(axis=1) == found.labels).mean())
            mean = float(shares[arm][0].mean())
            axes[row, 0].set_ylabel(f"{arm.replace('_', ' ')}\nright {right:.0%}\noff {mean:.1%}", fontsize=7)
        for axis in axes.flat:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        save(figure, destination)
    return destination, {arm: float(found[0].mean()) for arm, found in shares.items()}
