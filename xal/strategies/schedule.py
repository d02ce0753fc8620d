"""Schedules: strategies by round. Early mix and late mix (thesis 4.3) are two of them.

Rounds 1..R are shared out evenly, in order: with m strategies round r runs number floor((r - 1) m / R). With an odd R
the first half is the longer one.
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
    """Each strategy in its share of the rounds."""

    strategies: tuple[Strategy, ...]

    def __post_init__(self) -> None:
        if not self.strategies:
            raise XalError("a schedule needs at least one strategy")

    def wrapped(self) -> tuple[Strategy, ...]:
        """All."""
        return self.strategies

    def for_round(self, round: int, n_rounds: int) -> Strategy:
        """The strategy whose share of the rounds holds this one."""
        return self.strategies[(round - 1) * len(self.strategies) // n_rounds]

    def query(self, passes: Passes, budget: int, rng: HashRng) -> Query:
        """The query of the round's strategy."""
        return self.for_round(passes.round, passes.n_rounds).query(passes, budget, rng)


@dataclass(frozen=True, kw_only=True)
class _Halves(Wrapper):
    """Base: a schedule of two."""

    strategy: Strategy = field(default_factory=EbanoUncertainty)
    other: Strategy = field(default_factory=Entropy)

    def wrapped(self) -> tuple[Strategy, ...]:
        """First half, second half."""
        return self.strategy, self.other

    def query(self, passes: Passes, budget: int, rng: HashRng) -> Query:
        """The query of the half's strategy."""
        return Schedule(strategies=self.wrapped()).query(passes, budget, rng)


@dataclass(frozen=True, kw_only=True)
class EarlyMix(_Halves, name="early_mix"):
    """`strategy` in the first half of the rounds, `other` in the second."""


@dataclass(frozen=True, kw_only=True)
class LateMix(_Halves, name="late_mix"):
    """`other` in the first half of the rounds, `strategy` in the second."""

    def wrapped(self) -> tuple[Strategy, ...]:
        """First half, second half."""
        return self.other, self.strategy
