"""`xal validate`: check a recipe and its pools."""

from __future__ import annotations

from xal.cli.options import RecipeFile, Settings, console


def validate(recipe: RecipeFile, settings: Settings = None) -> None:
    """Check a recipe and its pools, and try model and explainer on a few items."""
    from xal.campaign.recipe import load
    from xal.campaign.trial import try_recipe
    from xal.campaign.validation import checked_pools
    from xal.core.progress import Reporter
    from xal.tuning.objective import checked_search

    loaded = load(recipe, settings)
    with Reporter() as reporter:
        with reporter.step("reading and checking the pools"):
            pools = checked_pools(loaded, reporter.say)
        try_recipe(loaded, pools, reporter)
    if loaded.search is not None:
        checked_search(loaded)
    console.print(
        f"{recipe}: valid. {len(pools.pool):,} items, {len(pools.label_space)} classes, {loaded.budget.total} labels, "
        f"arms {', '.join(loaded.strategies)}, engine {loaded.engine.name}"
    )
    if pools.pool.kind == "image":
        console.print(f"{pools.pool.survey}; the model takes {' x '.join(map(str, pools.shape))}")
