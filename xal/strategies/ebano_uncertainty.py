"""EBAnO-Uncertainty (thesis 3.3.2): query what an influential but imprecise feature explains.

On `candidates` (kappa) pool items, random or chosen by the strategy `candidates_from` (which the thesis leaves to
future work): keep m(x) > `threshold` (eta), the largest first, at most `limit` (l_U); the rest of the batch is filled
by highest entropy over the whole pool, without repeats. m(x) is `npir_gap`'s score.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

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
    """Query by m(x) on a random subset, then fill by entropy."""

    candidates: Annotated[int, Field(ge=1)] | None = 2000
    """kappa, the number of pool items explained a round; null: all."""
    candidates_from: Strategy | None = None
    """The strategy that chooses those items, such as entropy or diverse; null: a random subset, as in the thesis."""
    threshold: Annotated[float, Field(ge=-2, le=2)] = 0.5
    """eta: items with m(x) at or below it are not queried."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """l_U: at most so many items a round by m(x); null: the whole batch."""
    fallback: Strategy = field(default_factory=Entropy)
    """The strategy that fills the batch."""

    def __post_init__(self) -> None:
        if self.candidates_from is not None and self.candidates is None:
            raise XalError("candidates_from: with candidates: null all items are explained; give their number")
        self.wrapped()  # or what is wrong with a part would show in a round

    def wrapped(self) -> tuple[Strategy, ...]:
        """The plan that it stands for."""
        scored: Strategy = NpirGap()
        if self.candidates is not None:
            chooser = self.candidates_from or Random()
            scored = Candidates(strategy=scored, n=self.candidates, candidates_from=chooser)
        kept = Threshold(strategy=scored, above=self.threshold, limit=self.limit)
        return (Fallback(strategy=kept, fallback=self.fallback),)

    def query(self, passes: Passes, budget: int, rng: HashRng) -> Query:
        """The plan's query, under this name."""
        (plan,) = self.wrapped()
        return plan.query(passes, budget, rng).renamed(NpirGap.name, self.name)
