"""Spend what a strategy leaves of the budget by another one."""

from dataclasses import dataclass, field

from xal.core.rng import HashRng
from xal.strategies.entropy import Entropy
from xal.strategies.strategy import Passes, Strategy, Wrapper
from xal.types import Query


@dataclass(frozen=True, kw_only=True)
class Fallback(Wrapper, name="fallback"):
    """`strategy`, then `fallback` for the rest of the batch, without repeats."""

    strategy: Strategy
    fallback: Strategy = field(default_factory=Entropy)

    def wrapped(self) -> tuple[Strategy, ...]:
        """Both."""
        return self.strategy, self.fallback

    def query(self, passes: Passes, budget: int, rng: HashRng) -> Query:
        """The strategy's query, filled up."""
        found = self.strategy.query(passes, budget, rng)
        if len(found) >= budget:
            return found
        rest = self.fallback.query(passes.without(found.items.ids.tolist()), budget - len(found), rng)
        return Query.concatenate([found, rest])
