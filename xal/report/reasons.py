"""Heat maps of a few images, a row for each arm, with the share of attribution on what should not matter."""

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
    """Write the figure; returns its path and the mean share by arm. All arms must explain the same images."""
    shares = {arm: off_reasons(explained_images) for arm, explained_images in explained.items()}
    first = next(iter(explained.values()))
    columns = min(SHOWN, len(first.images))
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(1.1 * columns + 1.4, 1.25 * (len(explained) + 1)), dpi=110, layout="constrained")
        axes = figure.subplots(len(explained) + 1, columns, squeeze=False)
        irrelevant = next(iter(shares.values()))[1]
        for column in range(columns):
            axes[0, column].imshow(first.images[column].mean(axis=0), cmap="gray")
            axes[0, column].contour(irrelevant[column], levels=[0.5], colors="#22c55e", linewidths=1)
            axes[0, column].set_title(first.classes[first.labels[column]], fontsize=8)
        for row, (arm, explained_images) in enumerate(explained.items(), 1):
            heat = explained_images.explanations.heat
            for column in range(columns):
                scale = float(np.abs(heat[column]).max()) or 1.0
                axes[row, column].imshow(heat[column], cmap=HEAT, vmin=-scale, vmax=scale)
                axes[row, column].set_title(f"{shares[arm][0][column]:.0%}", fontsize=7, pad=2)
            predicted = explained_images.probabilities.argmax(axis=1)
            right = float((predicted == explained_images.labels).mean())
            mean = float(shares[arm][0].mean())
            axes[row, 0].set_ylabel(f"{arm.replace('_', ' ')}\nright {right:.0%}\noff {mean:.1%}", fontsize=7)
        for axis in axes.flat:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        save(figure, destination)
    return destination, {arm: float(arm_shares.mean()) for arm, (arm_shares, _) in shares.items()}
