"""The pools of a recipe with the vectors of its model's encoder, computed once and kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from xal.campaign.pools import Pools
from xal.campaign.recipe import Recipe
from xal.core.cache import cache_folder
from xal.core.paths import location, remote
from xal.core.progress import Reporter
from xal.data.embeddings import store_of
from xal.data.pool import Pool
from xal.engine.embedding import embed_pool
from xal.engine.engine import Session


def embedded(recipe: Recipe, pools: Pools, session: Session, reporter: Reporter) -> Pools:
    """The pools with kept vectors, if the recipe's model has an encoder whose vectors can be kept, else as they are."""
    encoder = recipe.model.kept_encoder
    if encoder is None or pools.pool.embeddings is not None:
        return pools

    def with_vectors(pool: Pool, name: str) -> Pool:
        advance = reporter.stage(f"embed {name}")
        dtype, place = recipe.pool.embeddings_dtype, store(recipe, pool)
        return embed_pool(session, pool, encoder, place, pools.shape, dtype, advance, reporter.say)

    with reporter.step("embedding the pools"):
        return replace(
            pools,
            pool=with_vectors(pools.pool, "pool"),
            test=None if pools.test is None else with_vectors(pools.test, "test pool"),
            validation=None if pools.validation is None else with_vectors(pools.validation, "validation pool"),
        )


def store(recipe: Recipe, pool: Pool) -> Path:
    """Where the vectors of a pool are kept."""
    setting = recipe.pool.embeddings
    place = None if setting is None else location(setting)
    if place is not None and not remote(place):
        place = place.absolute()
    return store_of(pool, place, cache_folder())
