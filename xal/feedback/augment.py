"""EBAnO-Augment (thesis 3.3.2): copies of queried images with everything but their strongest feature fmax blurred.

The copy carries the item's true label: it teaches that what the network looked at belongs to that class. It is no
label, and is rebuilt each round. The thesis keeps fmax of the predicted class, and names as a flaw that this may show
another object than the label says; explained for the label after annotation, it shows the label's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from xal.explainers.ebano import keep_only
from xal.types import Explanations

CHUNK = 64  # images that are float at a time


def keep_strongest(
    images: npt.NDArray[np.uint8], explanations: Explanations, sigma: float | None = None
) -> npt.NDArray[np.uint8]:
    """(b, c, h, w) copies of the images, 0-255, with all but fmax blurred by `sigma` pixels (None: the default)."""
    masks: npt.NDArray[np.bool_] = explanations.segments == explanations.strongest[:, None, None]
    copies = np.empty_like(images)
    for start in range(0, len(images), CHUNK):
        chunk = slice(start, start + CHUNK)
        kept = keep_only(torch.from_numpy(images[chunk]), torch.from_numpy(masks[chunk]), sigma)
        copies[chunk] = kept.round().clamp(0, 255).to(torch.uint8).numpy()
    return copies
