"""The runs that a recipe stands for: arms x seeds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xal.campaign.pools import Pools
from xal.campaign.recipe import Recipe
from xal.core.config import unparse
from xal.strategies import Strategy


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One run of a recipe: an arm with a seed, in a directory of its own."""

    recipe: Recipe
    pools: Pools
    arm: str
    seed: int
    directory: Path
    last_round: int | None = None
    """Stop after this round; None: after the recipe's last."""
    ledger: str | None = None
    """URL of the PostgreSQL database of a new run's ledger; None: SQLite in the directory."""
    await_classes: bool = False
    """While labels are of fewer than two classes, leave training out and query at random, in place of an error."""
    shared_round0: Path | None = None
    """A run of the same recipe and seed whose round 0, the same in every arm, need not be computed again."""

    @property
    def strategy(self) -> Strategy:
        """The arm's strategy."""
        return self.recipe.strategies[self.arm]

    def identity(self) -> dict[str, Any]:
        """What decides the outcome: all of the recipe but where it runs."""
        return identity(self.recipe, self.strategy, self.seed)


def identity(recipe: Recipe, strategy: Strategy, seed: int) -> dict[str, Any]:
    """What decides the outcome of a run: all of the recipe but where it runs."""
    whole: dict[str, Any] = unparse(recipe)
    engine = whole.pop("engine")
    for key in ("arms", "explainers", "feedbacks", "seeds", "search"):
        del whole[key]
    for key in ("feedback", "evaluate_explanations"):  # as runs were before there were any
        if not whole[key]:
            del whole[key]
    rounding = {key: engine[key] for key in ("batch", "threads", "precision", "compiled")}
    return whole | {"strategy": unparse(strategy), "seed": seed, "engine": rounding}


def runs(recipe: Recipe, pools: Pools, directory: Path, seeds: tuple[int, ...] | None = None) -> list[RunSpec]:
    """The runs of a recipe, seed by seed, each in `directory/ARM-seedN`."""
    chosen = seeds or recipe.seeds or (recipe.seed,)
    return [
        RunSpec(recipe=recipe.of(arm), pools=pools, arm=arm, seed=seed, directory=directory / f"{arm}-seed{seed}")
        for seed in chosen
        for arm in recipe.strategies
    ]
