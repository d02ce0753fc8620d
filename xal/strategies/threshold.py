"""Query only what scores above a threshold."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from xal.core.rng import HashRng
from xal.strategies.strategy import Passes, Strategy, Wrapper
from xal.types import Query


@dataclass(frozen=True, kw_only=True)
class Threshold(Wrapper, name="threshold"):
    """Of the query of `strategy`, the items that score above `above`; often fewer than asked for: see `fallback`."""

    strategy: Strategy
    above: float
    limit: Annotated[int, Field(ge=1)] | None = None
    """At most so many items a round; null: the whole batch."""

    def wrapped(self) -> tuple[Strategy, ...]:
        """The strategy."""
        return (self.strategy,)

    def query(self, passes: Passes, budget: int, rng: HashRng) -> Query:
        """The strategy's query without what scores too low."""
        found = self.strategy.query(passes, budget if self.limit is None else min(budget, self.limit), rng)
        return found.take(found.items.scores > self.above)
