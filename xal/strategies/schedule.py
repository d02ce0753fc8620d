"""Schedules: other strategies in other rounds, among them early mix and late mix (thesis 4.3).

Rounds 1..R are divided evenly, in order: with m strategies, round r runs strategy number floor((r - 1) m / R), from 0.
If m = 2 and R is odd, the first half is the longer one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xal.core.rng import HashRng
from xal.errors import XalError
from xal.strategies.ebano_uncertainty import EbanoUncertainty
from xal.strategies.entropy import Entropy
from xal.strategies.strategy import Passes, Strategy, Wrapper
from xal.types import Query


@dataclass(frozen=True, kw_only=True)
class Schedule(Wrapper, name="schedule"):
    """Run each strategy in its share of the rounds."""

    strategies: tuple[Strategy, ...]
    """The strategies in order; each has an equal share of the rounds."""

    def __post_init__(self) -> None:
        if not self.strategies:
            raise XalError("schedule: expected at least one strategy, got none; list them in `strategies`")

    def wrapped(self) -> tuple[Strategy, ...]:
        """`strategies`."""
        return self.strategies

    def for_round(self, round: int, n_rounds: int) -> Strategy:
        """The strategy of round `round` (from 1) of `n_rounds`."""
        return self.strategies[(round - 1) * len(self.strategies) // n_rounds]

    def query(self, passes: Passes, budget: int, rng: HashRng) -> Query:
        """The query of the round's strategy."""
        return self.for_round(passes.round, passes.n_rounds).query(passes, budget, rng)


@dataclass(frozen=True, kw_only=True)
class _Halves(Wrapper):
    """Base: a schedule of two strategies."""

    strategy: Strategy = field(default_factory=EbanoUncertainty)
    """The strategy of one half of the rounds."""
    other: Strategy = field(default_factory=Entropy)
    """The strategy of the other half of the rounds."""

    def wrapped(self) -> tuple[Strategy, ...]:
        """The strategies of the first and of the second half."""
        return self.strategy, self.other

    def query(self, passes: Passes, budget: int, rng: HashRng) -> Query:
        """The query of the strategy of this half."""
        return Schedule(strategies=self.wrapped()).query(passes, budget, rng)


@dataclass(frozen=True, kw_only=True)
class EarlyMix(_Halves, name="early_mix"):
    """`strategy` in the first half of the rounds, `other` in the second."""


@dataclass(frozen=True, kw_only=True)
class LateMix(_Halves, name="late_mix"):
    """`other` in the first half of the rounds, `strategy` in the second."""

    def wrapped(self) -> tuple[Strategy, ...]:
        """The strategies of the first and of the second half."""
        return self.other, self.strategy
