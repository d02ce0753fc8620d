"""The `search` section of a recipe: which settings (theta) `xal tune` looks for, and how."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from xal.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Span:
    """A range of numbers, whole ones where the setting takes no others, or a list of choices."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    """Search the logarithm."""
    choices: tuple[Any, ...] | None = None

    def __post_init__(self) -> None:
        bounds = self.low is not None and self.high is not None
        if bounds == (self.choices is not None) or (self.choices is not None and not self.choices):
            name = "low" if self.choices is None else "choices"
            raise ConfigError([f"{name}: expected low and high, or at least one of choices"])
        if self.low is not None and self.high is not None:
            if not self.low < self.high:
                raise ConfigError([f"low: expected less than high = {self.high:g}, got {self.low:g}"])
            if self.log and self.low <= 0:
                raise ConfigError([f"log: wants low above 0, got {self.low:g}"])

    @property
    def ends(self) -> tuple[Any, ...]:
        """What any mistake would show on: the bounds, or all choices."""
        if self.choices is not None:
            return self.choices
        return tuple(int(end) if end.is_integer() else end for end in (self.low or 0.0, self.high or 0.0))

    @property
    def between(self) -> float:
        """A number of the range that is not whole."""
        low, high = self.low or 0.0, self.high or 0.0
        return low + (high - low) / math.pi


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search over the parameters of a recipe's explainer and strategy."""

    space: dict[str, Span] = field(default_factory=dict)
    """By dotted path, such as explainer.max_evals or strategy.sample."""
    mode: Literal["oracle", "replay"] = "oracle"
    """oracle: the pool's own labels are asked, a simulation. replay: the labels of a run (--from) alone, a part of
    which plays the pool: what costs no label."""
    trials: Annotated[int, Field(ge=1)] = 24
    items: Annotated[int, Field(ge=10)] = 4000
    """oracle: at most so many items of the pool, drawn at random, are pool and validation of the trials."""
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of those items, or of the labelled ones, that trials are measured on."""
    rounds: Annotated[int, Field(ge=1)] = 3
    """Of a trial's campaign."""
    initial: Annotated[int, Field(ge=2)] | None = None
    """Of a trial's campaign; null: the recipe's (oracle), a fifth of what plays the pool (replay)."""
    per_round: Annotated[int, Field(ge=1)] | None = None
    """Of a trial's campaign; null: the recipe's (oracle), a fifth of what plays the pool (replay)."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1)
    """A trial's value is the mean over them."""
    metric: Literal["macro_f1", "accuracy"] = "macro_f1"
    """Mean over a trial's rounds after round 0; larger is better."""
    stop_early: bool = True
    """Asynchronous successive halving over rounds: bad trials end after one round."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the search itself."""

    def __post_init__(self) -> None:
        wrong = [path for path in self.space if path.split(".")[0] not in ("explainer", "strategy")]
        if wrong:
            raise ConfigError(
                [f"space.{path}: expected a path that begins with explainer. or strategy." for path in wrong]
            )
