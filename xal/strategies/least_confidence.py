"""Least confidence: 1 - max_j p(y = j | x), in [0, 1 - 1/c] (Lewis & Gale 1994)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from xal.core.rng import HashRng
from xal.strategies.strategy import Scores, Strategy, probabilities_of
from xal.types import Evidence


@dataclass(frozen=True, kw_only=True)
class LeastConfidence(Strategy, name="least_confidence"):
    """Query the items whose predicted class has the lowest probability."""

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        """(b,) 1 minus the largest probability."""
        scores: Scores = 1.0 - probabilities_of(evidence).max(axis=1).astype(np.float64)
        return scores
