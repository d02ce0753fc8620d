"""Query only items that score above a threshold."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from xal.core.rng import HashRng
from xal.strategies.strategy import Passes, Strategy, Wrapper
from xal.types import Query


@dataclass(frozen=True, kw_only=True)
class Threshold(Wrapper, name="threshold"):
    """The items of the query of `strategy` that score above `above`; `fallback` can fill the rest of the batch."""

    strategy: Strategy
    """The strategy that scores the items."""
    above: float
    """Items that score this or less are not queried."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Maximum number of items in a round; null: the whole batch."""

    def wrapped(self) -> tuple[Strategy, ...]:
        """`strategy`."""
        return (self.strategy,)

    def query(self, passes: Passes, budget: int, rng: HashRng) -> Query:
        """The query of `strategy`, without items that score too low."""
        query = self.strategy.query(passes, budget if self.limit is None else min(budget, self.limit), rng)
        return query.take(query.items.scores > self.above)
