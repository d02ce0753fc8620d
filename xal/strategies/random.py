"""Random sampling: a uniform draw without replacement, by a hash of (seed, round, id)."""

from dataclasses import dataclass
from typing import Any, ClassVar

from xal.core.rng import HashRng
from xal.strategies.strategy import Scores, Strategy
from xal.types import Evidence


@dataclass(frozen=True, kw_only=True)
class Random(Strategy, name="random"):
    """Query at random."""

    motive: ClassVar[str] = "drawn at random"

    needs: ClassVar[frozenset[str]] = frozenset()

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        """(b,) uniform draws in [0, 1)."""
        return rng.uniform(evidence.ids)
