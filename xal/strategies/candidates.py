"""Score candidates alone: `n` items of the pool, chosen by a cheaper strategy."""

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from pydantic import Field

from xal.core.rng import HashRng
from xal.errors import XalError
from xal.strategies.random import Random
from xal.strategies.strategy import Passes, Strategy, Wrapper
from xal.types import Query


@dataclass(frozen=True, kw_only=True)
class Candidates(Wrapper, name="candidates"):
    """`strategy` on `n` items that `candidates_from` chooses."""

    strategy: Strategy
    n: Annotated[int, Field(ge=1)] = 2000
    """Candidates a round."""
    candidates_from: Strategy = field(default_factory=Random)
    """The strategy that chooses them."""

    def __post_init__(self) -> None:
        if any("explanations" in part.needs for part in self.candidates_from.parts()):
            name = self.candidates_from.name
            raise XalError(f"candidates_from: '{name}' would explain the whole pool; name a cheaper strategy")

    def wrapped(self) -> tuple[Strategy, ...]:
        """Both."""
        return self.strategy, self.candidates_from

    def query(self, passes: Passes, budget: int, rng: HashRng) -> Query:
        """The candidates, then the strategy's query among them."""
        return self.strategy.query(narrowed(passes, self.candidates_from, self.n, rng), budget, rng)


def narrowed(passes: Passes, chooser: Strategy, n: int, rng: HashRng) -> Passes:
    """Passes over the n items that another strategy chooses."""
    if isinstance(chooser, Wrapper) or chooser.prepare_needs or chooser.summary_needs is not None:
        chosen = chooser.query(passes, n, rng.child("preselect")).items
    else:  # a single pass
        chosen = passes.top(chooser, n, rng.child("prefilter"), stage="candidates")
    return passes.among(np.sort(chosen.rows))
