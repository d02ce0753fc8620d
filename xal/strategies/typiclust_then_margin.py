"""TCM: TypiClust while labels are few, then margin (P. Doucet and others, "Bridging diversity and uncertainty in
active learning with self-supervised pre-training", 2024)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from xal.core.rng import HashRng
from xal.strategies.margin import Margin
from xal.strategies.strategy import Passes, Strategy, Wrapper
from xal.strategies.typiclust import TypiClust
from xal.types import Query


@dataclass(frozen=True, kw_only=True)
class TypiClustThenMargin(Wrapper, name="typiclust_then_margin"):
    """`typiclust` in the first rounds, then `margin`."""

    rounds: Annotated[int, Field(ge=0)] = 3
    """Rounds of `typiclust`."""
    typiclust: Strategy = field(default_factory=TypiClust)
    """The strategy of the first rounds."""
    margin: Strategy = field(default_factory=Margin)
    """The strategy of the others."""

    def wrapped(self) -> tuple[Strategy, ...]:
        """`typiclust` and `margin`."""
        return self.typiclust, self.margin

    def query(self, passes: Passes, budget: int, rng: HashRng) -> Query:
        """The query of the round's strategy."""
        return (self.typiclust if passes.round <= self.rounds else self.margin).query(passes, budget, rng)
