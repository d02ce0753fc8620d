"""`xal embed`: compute and keep the vectors of a recipe's pools."""

from __future__ import annotations

from typing import Annotated

import typer

from xal.cli.options import RecipeFile, Settings, console
from xal.errors import ConfigError


def embed(
    recipe: RecipeFile,
    settings: Settings = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Compute the vectors of a recipe's pools, once; `xal run` does so too, before its first round."""
    from xal.campaign.embedded import embedded
    from xal.campaign.recipe import load
    from xal.campaign.trial import try_recipe
    from xal.campaign.validation import checked_pools
    from xal.core.progress import Reporter

    loaded = load(recipe, settings)
    if loaded.model.kept_encoder is None:
        raise ConfigError(
            [f"model: '{loaded.model.name}' has no encoder whose vectors can be kept; see `xal list` for encoders"],
            str(recipe),
        )
    with Reporter(quiet=quiet) as reporter:
        with reporter.step("reading and checking the pools"):
            pools = checked_pools(loaded, reporter.say)
        try_recipe(loaded, pools, reporter)
        with loaded.engine.open() as session:
            pools = embedded(loaded, pools, session, reporter)
    for pool in (pools.pool, pools.test, pools.validation):
        if pool is not None:
            console.print(
                f"{len(pool):,} vectors of width {pool.embeddings.width} in {pool.embeddings.folder}", markup=False
            )
