"""A feedback for tables: train on a copy of each corrected item in which the wrong columns take their mean value.

In a recipe:   feedback: {name: "mean_values:MeanValues", weight: 0.5}
From Python:   xal.Learner(X, feedback=MeanValues())
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import xal


@dataclass(frozen=True, kw_only=True)
class MeanValues(xal.Feedback):
    """Copies of corrected items whose wrong columns are the mean of the labelled items."""

    kinds: ClassVar[frozenset[str]] = frozenset({"features"})

    weight: float = 1.0
    """Weight of a copy in the training loss; a labelled item has 1."""

    def takes_values(self, kind: str) -> bool:
        """True: it cannot change a column that is the same in all items, so such a correction is refused."""
        return True

    def copies(self, batch: xal.CorrectionBatch, seed: int) -> tuple[Any, np.ndarray]:
        """((m, d) copies, (m,) position in the batch of the item that each was made from)."""
        mean = batch.known.mean(axis=0)
        copies = np.where(batch.wrong, mean, batch.payload).astype(np.float32)
        return copies, np.arange(len(batch.ids))
