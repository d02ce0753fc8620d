"""BALD: query where an ensemble's members, or draws of dropout, are each sure and disagree.

H(mean p) - mean H(p), in nats: the mutual information of the label and the model's weights (N. Houlsby and others 2011;
with dropout Y. Gal, R. Islam, Z. Ghahramani 2017).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import special

from xal.core.rng import HashRng
from xal.strategies.strategy import Scores, Strategy, sampled_of
from xal.types import Evidence


@dataclass(frozen=True, kw_only=True)
class Bald(Strategy, name="bald"):
    """Query the items on which sampled predictions disagree most."""

    needs: ClassVar[frozenset[str]] = frozenset({"probabilities", "sampled_probabilities"})
    motive: ClassVar[str] = "an ensemble disagrees about it"

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        """(b,) mutual information, at least 0."""
        sampled = np.asarray(sampled_of(evidence), np.float64)
        total = special.entr(sampled.mean(axis=1)).sum(axis=1)
        return np.asarray(np.maximum(total - special.entr(sampled).sum(axis=2).mean(axis=1), 0))
