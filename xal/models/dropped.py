"""Draws of dropout that are the same for all items, so that a query does not depend on how a pool is cut into shards.

As consistent dropout in A. Kirsch, J. van Amersfoort, Y. Gal, "BatchBALD", 2019.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

DRAWS = 10
"""Draws for each item."""
SHARE = 0.75
"""Share of the embedding that is dropped where a model has no dropout of its own (DropQuery)."""


def dropped(draw: int, layer: int, width: int, share: float = SHARE) -> npt.NDArray[np.float32]:
    """(width,) factors: 0 for the dropped columns, 1 / (1 - share) for the others."""
    kept = np.random.default_rng([draw, layer, width]).random(width) >= share
    return (kept / (1 - share)).astype(np.float32)
