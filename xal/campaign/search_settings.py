"""The `search` section of a recipe: which explainer settings `xal tune` searches, and how."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from xal.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Span:
    """A range of numbers (integers if the setting takes only integers), or a list of choices."""

    low: float | None = None
    """Lower bound of the range, inclusive."""
    high: float | None = None
    """Upper bound of the range, inclusive."""
    log: bool = False
    """Search on a logarithmic scale."""
    choices: tuple[Any, ...] | None = None
    """Values to choose from, in place of low and high."""

    def __post_init__(self) -> None:
        bounds = self.low is not None and self.high is not None
        if bounds == (self.choices is not None) or (self.choices is not None and not self.choices):
            name = "low" if self.choices is None else "choices"
            raise ConfigError([f"{name}: expected low and high, or at least one of choices"])
        if self.low is not None and self.high is not None:
            if not self.low < self.high:
                raise ConfigError([f"low: expected less than high = {self.high:g}, got {self.low:g}"])
            if self.log and self.low <= 0:
                raise ConfigError([f"log: expected low above 0, got {self.low:g}"])

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values to validate: both bounds, or all choices."""
        if self.choices is not None:
            return self.choices
        return tuple(int(end) if end.is_integer() else end for end in (self.low or 0.0, self.high or 0.0))

    @property
    def between(self) -> float:
        """A number within the range that is not an integer."""
        low, high = self.low or 0.0, self.high or 0.0
        return low + (high - low) / math.pi


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search over the parameters of a recipe's explainer and strategy."""

    space: dict[str, Span] = field(default_factory=dict)
    """Ranges or choices by dotted path, such as explainer.max_evals or strategy.sample."""
    mode: Literal["oracle", "replay"] = "oracle"
    """oracle: trials use the pool's own labels, a simulation. replay: trials use only the labels of a run (--from), a
    part of them as their pool; this costs no new labels."""
    trials: Annotated[int, Field(ge=1)] = 24
    """Combinations of settings to try."""
    """Settings that are tried."""
    items: Annotated[int, Field(ge=10)] = 4000
    """oracle: the most items of the pool, drawn at random, that trials use as their pool and validation pool."""
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of the trials' items that they are evaluated on."""
    rounds: Annotated[int, Field(ge=1)] = 3
    """Rounds of a trial's campaign after round 0."""
    initial: Annotated[int, Field(ge=2)] | None = None
    """Labels of round 0 of a trial; null: the recipe's (oracle), or a fifth of the trials' pool (replay)."""
    per_round: Annotated[int, Field(ge=1)] | None = None
    """Labels per later round of a trial; null: the recipe's (oracle), or a fifth of the trials' pool (replay)."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1)
    """Seeds of a trial's campaigns; its value is the mean over them."""
    metric: Literal["macro_f1", "accuracy"] = "macro_f1"
    """A trial's value: the mean over its rounds after round 0; larger is better."""
    stop_early: bool = True
    """Stop bad trials after one round or more (asynchronous successive halving)."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the search: its sampler, and the items of the trials."""

    def __post_init__(self) -> None:
        wrong = [path for path in self.space if path.split(".")[0] not in ("explainer", "strategy")]
        if wrong:
            raise ConfigError(
                [f"space.{path}: expected a path that begins with explainer. or strategy." for path in wrong]
            )
