"""What can be known of a recipe and its pools before anything is labelled or trained."""

from __future__ import annotations

from xal.campaign.annotators import Oracle
from xal.campaign.recipe import Recipe
from xal.data.pool import Pool
from xal.errors import ConfigError


def checked(recipe: Recipe) -> Pool:
    """The recipe's pool; ConfigError that lists all that would end its campaigns later, DataError for broken files."""
    pool = recipe.open_pool()
    classes = recipe.classes(pool)
    recipe.shape(pool)
    problems = []
    if isinstance(recipe.annotator, Oracle) and not pool.has_labels:
        problems.append("annotator: the oracle answers from the pool's labels, and it has none; use annotator: file")
    test, validation = recipe.open_test(), recipe.open_validation()
    for name, other in (("pool.test", test), ("pool.validation", validation)):
        if other is not None:
            problems += _unlike(name, other, pool, classes)
    if test is None and validation is None and not recipe.train.validation:
        problems.append("pool.test: nothing to evaluate on; give a labelled pool, or raise train.validation above 0")
    if pool.kind != "image" and recipe.train.flip:
        problems.append("train.flip: only images can be flipped; set it to false")
    if problems:
        raise ConfigError(problems)
    return pool


def _unlike(name: str, other: Pool, pool: Pool, classes: tuple[str, ...]) -> list[str]:
    """Why the model of a pool cannot be measured on another."""
    if other.kind != pool.kind:
        return [f"{name}: holds {other.kind}, the pool {pool.kind}"]
    lines = []
    if other.width != pool.width:
        lines.append(f"{name}: its items have {other.width} features, the pool's {pool.width}")
    strangers = sorted(set(other.distinct_labels()) - set(classes))
    if strangers:
        lines.append(f"{name}: has labels outside the classes: {', '.join(strangers[:5])}; list all in pool.classes")
    return lines
