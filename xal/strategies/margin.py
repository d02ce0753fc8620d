"""Margin sampling: -(p(y = j1 | x) - p(y = j2 | x)) of the top two classes, in [-1, 0] (Scheffer et al. 2001)."""

from dataclasses import dataclass
from typing import Any

from xal.core.rng import HashRng
from xal.strategies.strategy import Scores, Strategy, margins
from xal.types import Evidence


@dataclass(frozen=True, kw_only=True)
class Margin(Strategy, name="margin"):
    """Query the items whose two most likely classes have the closest probabilities."""

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        """(b,) minus the margin."""
        return -margins(evidence)
