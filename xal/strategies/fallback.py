"""Fill the batch by another strategy if the first one chooses too few items."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from xal.core.rng import HashRng
from xal.strategies.entropy import Entropy
from xal.strategies.strategy import Passes, Strategy, Wrapper
from xal.types import Query


@dataclass(frozen=True, kw_only=True)
class Fallback(Wrapper, name="fallback"):
    """`strategy`, then `fallback` for the rest of the batch, without repeats."""

    strategy: Strategy
    """The strategy that chooses first, possibly fewer items than requested."""
    fallback: Strategy = field(default_factory=Entropy)
    """The strategy that chooses the rest."""

    def wrapped(self) -> tuple[Strategy, ...]:
        """`strategy` and `fallback`."""
        return self.strategy, self.fallback

    def query(self, passes: Passes, budget: int, rng: HashRng) -> Query:
        """The query of `strategy`, filled up to `budget` by `fallback`."""
        query = self.strategy.query(passes, budget, rng)
        if len(query) >= budget:
            return query
        rest = self.fallback.query(passes.without(query.items.ids.tolist()), budget - len(query), rng)
        return Query.concatenate([query, rest])


def filled_up(strategy: Strategy, chosen: Mapping[str, int]) -> str:
    """Says which items a fallback chose, because the strategy found too few above its threshold."""
    fallbacks = {part.fallback.name for part in (strategy, *strategy.parts()) if hasattr(part, "fallback")}
    count = sum(chosen.get(name, 0) for name in fallbacks - {strategy.name})
    return f"; {count} fill up the batch, as too few passed the threshold of {strategy.name}" if count else ""
