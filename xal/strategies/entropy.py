"""Entropy sampling: H(x) = -sum_j p_j log p_j in nats, in [0, log c] (Shannon 1948; Settles 2009)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from xal.core.rng import HashRng
from xal.strategies.strategy import Scores, Strategy, probabilities_of
from xal.types import Evidence


@dataclass(frozen=True, kw_only=True)
class Entropy(Strategy, name="entropy"):
    """Query the items whose predicted probabilities have the highest entropy."""

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        """(b,) entropies in nats; 0 log 0 = 0."""
        probabilities = np.asarray(probabilities_of(evidence), np.float64)
        logs = np.maximum(probabilities, np.finfo(np.float64).tiny)
        np.log(logs, out=logs)
        entropies: Scores = -np.einsum("ij,ij->i", probabilities, logs)
        return entropies
