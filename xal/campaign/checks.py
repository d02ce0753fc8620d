"""What can be known of a recipe and its pools before anything is labelled or trained."""

from __future__ import annotations

from torch import nn

from xal.campaign.annotators import Oracle
from xal.campaign.recipe import Recipe
from xal.campaign.simulated import Simulated
from xal.campaign.truth import knows
from xal.data.pool import Pool
from xal.errors import ConfigError
from xal.feedback.rrr import RrrGradCam
from xal.feedback.unused import Unused


def checked(recipe: Recipe) -> Pool:
    """The recipe's pool; ConfigError that lists all that would end its campaigns later, DataError for broken files."""
    pool = recipe.open_pool()
    classes = recipe.classes(pool)
    recipe.shape(pool)
    problems = []
    if isinstance(recipe.annotator, Oracle | Simulated) and not pool.has_labels:
        name = recipe.annotator.name
        problems.append(f"annotator: '{name}' answers from the pool's labels, and it has none; use annotator: file")
    test, validation = recipe.open_test(), recipe.open_validation()
    for name, other in (("pool.test", test), ("pool.validation", validation)):
        if other is not None:
            problems += _unlike(name, other, pool, classes)
    if test is None and validation is None and not recipe.train.validation:
        problems.append("pool.test: nothing to evaluate on; give a labelled pool, or raise train.validation above 0")
    if pool.kind != "image" and recipe.train.flip:
        problems.append("train.flip: only images can be flipped; set it to false")
    problems += _untaught(recipe, pool, len(classes)) + _unjudged(recipe, test or validation)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return pool


def _untaught(recipe: Recipe, pool: Pool, classes: int) -> list[str]:
    """Why corrections cannot be given, or not be learned from."""
    lines = []
    arms = [recipe.of(arm) for arm in recipe.strategies]
    for arm, feedback in [(arm, arm.feedback) for arm in arms if arm.feedback is not None]:
        if isinstance(arm.annotator, Simulated) and not knows(pool):
            lines.append(
                "annotator: to simulate corrections the pool must have a column `relevant` or `irrelevant`; use "
                "annotator: file"
            )
        elif isinstance(arm.annotator, Simulated) and arm.explains_concepts(arm.explainer):
            lines.append(
                "annotator: the pool knows which parts of items matter, not which concepts; take phi: identity"
            )
        elif isinstance(arm.annotator, Oracle) and not isinstance(feedback, Unused):
            lines.append(
                "annotator: the oracle corrects nothing; take file, or simulated where the pool knows what matters"
            )
        if pool.kind == "features" and (pool.width or 0) % feedback.together:
            lines.append(f"feedback.group: {pool.width} columns are not groups of {feedback.together}")
        if isinstance(feedback, RrrGradCam):
            module = arm.model.untrained().create(arm.shape(pool), classes, seed=0)
            if not any(isinstance(layer, nn.Conv2d) for layer in module.modules()):
                lines.append(f"feedback: 'rrr_gradcam' wants convolutions, and '{arm.model.name}' has none; take rrr")
    return lines


def _unjudged(recipe: Recipe, on: Pool | None) -> list[str]:
    """Why explanations cannot be held against the truth, where that is asked for."""
    if not recipe.judge:
        return []
    lines = []
    if on is None or not knows(on):
        lines.append("judge: give a pool.test with a column `relevant` or `irrelevant`, or set it to 0")
    explainers = [arm.explainer for arm in (recipe.of(arm) for arm in recipe.strategies)]
    if any(explainer is None for explainer in explainers):
        lines.append("judge: nothing is explained; name an explainer")
    if any(recipe.explains_concepts(explainer) for explainer in explainers):
        lines.append("judge: a pool knows which parts of items matter, not which concepts; set it to 0")
    return lines


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
