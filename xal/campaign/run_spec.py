"""The runs of a recipe: every arm with every seed."""

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
    shared_round0: Path | None = None
    """A run of the same recipe and seed, of which round 0 is copied; None: compute it."""

    @property
    def strategy(self) -> Strategy:
        """The arm's strategy."""
        return self.recipe.strategies[self.arm]

    def identity(self) -> dict[str, Any]:
        """`identity` of this run."""
        return identity(self.recipe, self.strategy, self.seed)


def identity(recipe: Recipe, strategy: Strategy, seed: int) -> dict[str, Any]:
    """The settings that determine a run's outcome: the recipe of one arm and seed, without where it runs."""
    sections: dict[str, Any] = unparse(recipe)
    engine = sections.pop("engine")
    for key in ("arms", "explainers", "feedbacks", "seeds", "search"):
        del sections[key]
    for key in ("feedback", "evaluate_explanations"):  # runs older than these fields do not have them
        if not sections[key]:
            del sections[key]
    rounding = {key: engine[key] for key in ("batch", "threads", "precision", "compiled")}
    return sections | {"strategy": unparse(strategy), "seed": seed, "engine": rounding}


def runs(recipe: Recipe, pools: Pools, directory: Path, seeds: tuple[int, ...] | None = None) -> list[RunSpec]:
    """The runs of a recipe, seed by seed, each in `directory/ARM-seedN`."""
    chosen = seeds or recipe.seeds or (recipe.seed,)
    return [
        RunSpec(recipe=recipe.of(arm), pools=pools, arm=arm, seed=seed, directory=directory / f"{arm}-seed{seed}")
        for seed in chosen
        for arm in recipe.strategies
    ]
