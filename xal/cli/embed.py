"""`xal embed`: compute and keep the vectors of a recipe's pools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xal.cli.options import RecipeFile, Settings, console
from xal.errors import ConfigError

if TYPE_CHECKING:
    from xal.campaign.recipe import Recipe
    from xal.core.progress import Reporter


def embed(
    recipe: RecipeFile,
    settings: Settings = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Compute the vectors of a recipe's pools, once; `xal run` does so too, before its first round."""
    from xal.core.progress import Reporter

    with Reporter(quiet=quiet) as reporter:
        lines = embed_recipe(recipe, settings, reporter)
    for line in lines:
        console.print(line, markup=False)


def embed_recipe(recipe: Path, settings: list[str] | None, reporter: Reporter) -> list[str]:
    """Compute the vectors of a recipe's pools that are not kept yet; a line about each pool."""
    from xal.campaign.embedded import embedded
    from xal.campaign.trial import try_recipe
    from xal.campaign.validation import checked_pools

    loaded = recipe_with_encoder(recipe, settings)
    with reporter.step("reading and checking the pools"):
        pools = checked_pools(loaded, reporter.say)
    try_recipe(loaded, pools, reporter)
    with loaded.engine.open() as session:
        pools = embedded(loaded, pools, session, reporter)
    return [
        f"{len(pool):,} vectors of width {pool.embeddings.width} in {pool.embeddings.folder}"
        for pool in (pools.pool, pools.test, pools.validation)
        if pool is not None
    ]


def recipe_with_encoder(recipe: Path, settings: list[str] | None) -> Recipe:
    """Read a recipe; ConfigError if its model has no encoder whose vectors can be kept."""
    from xal.campaign.recipe import load

    loaded = load(recipe, settings)
    if loaded.model.kept_encoder is None:
        raise ConfigError(
            [f"model: '{loaded.model.name}' has no encoder whose vectors can be kept; see `xal list` for encoders"],
            str(recipe),
        )
    return loaded
