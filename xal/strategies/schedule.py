"""Schedules: a list of strategies by round. Early mix and late mix (thesis 4.3) are two of them.

Rounds 1..R are shared out evenly, in order: with m strategies round r runs number floor((r - 1) m / R). With an odd R
the first half is the longer one.
"""

from dataclasses import dataclass, field
from typing import Any

from xal.chance import Chance
from xal.errors import XalError
from xal.strategies.strategy import Scores, Strategy
from xal.types import Evidence


def _named(name: str) -> Strategy:
    strategy: Strategy = Strategy.named(name)()
    return strategy


class _ByRound(Strategy):
    """A strategy that only delegates."""

    def score(self, evidence: Evidence, state: Any, chance: Chance) -> Scores:
        """Never called: the engine runs `at(round, rounds)`."""
        raise TypeError("a schedule does not score; ask it for its strategy `at` a round")


@dataclass(frozen=True, kw_only=True)
class Schedule(_ByRound, name="schedule"):
    """Each strategy in its share of the rounds."""

    strategies: tuple[Strategy, ...]

    def __post_init__(self) -> None:
        if not self.strategies:
            raise XalError("a schedule needs at least one strategy")

    def at(self, round: int, rounds: int) -> Strategy:
        """The strategy whose share of the rounds holds this one."""
        return self.strategies[(round - 1) * len(self.strategies) // rounds].at(round, rounds)


@dataclass(frozen=True, kw_only=True)
class EarlyMix(_ByRound, name="early_mix"):
    """`strategy` in the first half of the rounds, `other` in the second."""

    strategy: Strategy = field(default_factory=lambda: _named("ebano_uncertainty"))
    other: Strategy = field(default_factory=lambda: _named("entropy"))

    def at(self, round: int, rounds: int) -> Strategy:
        """The half's strategy."""
        return Schedule(strategies=(self.strategy, self.other)).at(round, rounds)


@dataclass(frozen=True, kw_only=True)
class LateMix(_ByRound, name="late_mix"):
    """`other` in the first half of the rounds, `strategy` in the second."""

    strategy: Strategy = field(default_factory=lambda: _named("ebano_uncertainty"))
    other: Strategy = field(default_factory=lambda: _named("entropy"))

    def at(self, round: int, rounds: int) -> Strategy:
        """The half's strategy."""
        return Schedule(strategies=(self.other, self.strategy)).at(round, rounds)
