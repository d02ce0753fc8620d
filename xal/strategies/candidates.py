"""Score only candidates: `n` items of the pool that a cheaper strategy chooses."""

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
    """Run `strategy` on the `n` items that `candidates_from` chooses."""

    strategy: Strategy
    """The strategy that scores the candidates."""
    n: Annotated[int, Field(ge=1)] = 2000
    """Number of candidates in each round."""
    candidates_from: Strategy = field(default_factory=Random)
    """The strategy that chooses the candidates."""

    def __post_init__(self) -> None:
        if any("explanations" in part.needs for part in self.candidates_from.parts()):
            name = self.candidates_from.name
            raise XalError(f"candidates_from: '{name}' would explain the whole pool; name a cheaper strategy")

    def wrapped(self) -> tuple[Strategy, ...]:
        """`strategy` and `candidates_from`."""
        return self.strategy, self.candidates_from

    def n_candidates(self, budget: int) -> int:
        """`n`."""
        return self.n

    def query(self, passes: Passes, budget: int, rng: HashRng) -> Query:
        """The query of `strategy` among the candidates."""
        return self.strategy.query(narrowed(passes, self.candidates_from, self.n, rng), budget, rng)


def narrowed(passes: Passes, chooser: Strategy, n: int, rng: HashRng) -> Passes:
    """Passes restricted to the n items that `chooser` chooses."""
    if isinstance(chooser, Wrapper) or chooser.prepare_needs or chooser.summary_needs is not None:
        chosen = chooser.query(passes, n, rng.child("preselect")).items
    else:  # a single pass
        chosen = passes.top(chooser, n, rng.child("prefilter"), stage="candidates")
    return passes.among(np.sort(chosen.rows))
