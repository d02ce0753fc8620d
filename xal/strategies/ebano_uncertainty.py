"""EBAnO-Uncertainty (thesis 3.3.2): query items whose most influential feature is imprecise.

`candidates` (kappa) pool items are explained: a random subset, or those that the strategy `candidates_from` chooses
(which the thesis leaves to future work). At most `limit` (l_U) items with m(x) > `threshold` (eta) are queried, largest
first. The rest of the batch is filled by highest entropy over the whole pool, without repeats. m(x) is the score of
`npir_gap`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from pydantic import Field

from xal.core.rng import HashRng
from xal.errors import XalError
from xal.strategies.candidates import Candidates
from xal.strategies.entropy import Entropy
from xal.strategies.fallback import Fallback
from xal.strategies.npir_gap import NpirGap
from xal.strategies.random import Random
from xal.strategies.strategy import Passes, Strategy, Wrapper
from xal.strategies.threshold import Threshold
from xal.types import Query


@dataclass(frozen=True, kw_only=True)
class EbanoUncertainty(Wrapper, name="ebano_uncertainty"):
    """Query by m(x) on a random subset, then fill the batch by entropy."""

    motive: ClassVar[str] = "its most influential feature is imprecise"

    candidates: Annotated[int, Field(ge=1)] | None = 2000
    """kappa: number of pool items that are explained in a round; null: all."""
    candidates_from: Strategy | None = None
    """The strategy that chooses those items, such as entropy or diverse; null: a random subset, as in the thesis."""
    threshold: Annotated[float, Field(ge=-2, le=2)] = 0.5
    """eta: items with m(x) at or below it are not queried."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """l_U: maximum number of items chosen by m(x) in a round; null: the whole batch."""
    fallback: Strategy = field(default_factory=Entropy)
    """The strategy that fills the rest of the batch."""

    def __post_init__(self) -> None:
        if self.candidates_from is not None and self.candidates is None:
            raise XalError("candidates_from: with candidates: null, all items are explained; give their number")
        self.wrapped()  # reports mistakes in the parts now rather than in a round

    def wrapped(self) -> tuple[Strategy, ...]:
        """The composed strategy that this one is short for."""
        scored: Strategy = NpirGap()
        if self.candidates is not None:
            chooser = self.candidates_from or Random()
            scored = Candidates(strategy=scored, n=self.candidates, candidates_from=chooser)
        above_threshold = Threshold(strategy=scored, above=self.threshold, limit=self.limit)
        return (Fallback(strategy=above_threshold, fallback=self.fallback),)

    def query(self, passes: Passes, budget: int, rng: HashRng) -> Query:
        """The query of the composed strategy, with this strategy's name as the reason."""
        (strategy,) = self.wrapped()
        return strategy.query(passes, budget, rng).renamed(NpirGap.name, self.name)
