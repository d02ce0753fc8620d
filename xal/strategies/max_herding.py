"""Max herding: cover the pool, whatever the model thinks. Best while labels are few; needs no labels to begin with.

Uncertainty herding with u = 1 and a kernel of width 1 (W. Bae, J. Noh, D. Sutherland, "Generalized coverage for more
robust low-budget active learning", ECCV 2024).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xal.strategies.joint import Vectors
from xal.strategies.strategy import Scores
from xal.strategies.uncertainty_herding import UncertaintyHerding
from xal.types import Evidence


@dataclass(frozen=True, kw_only=True)
class MaxHerding(UncertaintyHerding, name="max_herding"):
    """Query what resembles many items, and nothing that is labelled already."""

    select_needs: ClassVar[frozenset[str]] = frozenset({"embeddings"})
    motive: ClassVar[str] = "many items resemble it"

    def weights(self, evidence: Evidence) -> Scores:
        """(b,) ones."""
        return np.ones(len(evidence))

    def width(self, labelled: Vectors) -> float:
        """1."""
        return 1.0
