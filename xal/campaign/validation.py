"""Check a recipe against its pools before anything is labelled or trained."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from xal.campaign.pools import Pools, no_notes, open_pools
from xal.campaign.recipe import MODEL_EVIDENCE, Recipe
from xal.data.label_space import LabelSpace
from xal.data.pool import Pool
from xal.errors import ConfigError
from xal.evaluation.relevance import has_relevance


def checked_pools(recipe: Recipe, say: Callable[[str], None] = no_notes) -> Pools:
    """Open and check the recipe's pools.

    say: is told what was left out of pools that are built now. Raises ConfigError that lists everything that would stop
    its campaigns later, DataError for broken files.
    """
    pools = open_pools(recipe.pool, recipe.model, say)
    pool, budget = pools.pool, recipe.budget
    problems = []
    if budget.initial < 2 and (recipe.annotator.simulated or not pool.has_labels):
        problems.append(
            f"budget.initial: {budget.initial} items, but the pool has no labels to start from; give at least 2"
        )
    if budget.total > len(pool):
        problems.append(
            f"budget: {budget.initial} + {budget.rounds} x {budget.per_round} = {budget.total} labels, but the pool "
            f"holds {len(pool)}; lower initial, per_round or rounds"
        )
    problems += _kind_problems(recipe, pool)
    problems += recipe.engine.problems()
    problems += _id_problems(pool)
    if recipe.annotator.simulated:
        problems += _answer_problems(recipe, pool, pools.label_space)
    if problems:
        raise ConfigError(problems)
    for name, other in (("pool.test", pools.test), ("pool.validation", pools.validation)):
        if other is not None:
            problems += _pool_problems(name, other, pool, pools.label_space)
    if pools.measured is None and not recipe.train.validation:
        problems.append("pool.test: nothing to evaluate on; give a labelled pool, or raise train.validation above 0")
    if pool.kind != "image" and recipe.train.flip:
        problems.append("train.flip: only images can be flipped; set it to false")
    for arm in (recipe.of(name) for name in recipe.strategies):
        problems += arm.annotator.problems(pool, arm.feedback, explains_concepts=arm.explains_concepts(arm.explainer))
        problems += _missing_requirements(arm, pools)
    problems += _relevance_problems(recipe, pools.measured)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return pools


def _kind_problems(recipe: Recipe, pool: Pool) -> list[str]:
    """Problems of a model, explainer or feedback that cannot take the pool's kind of items."""
    problems = []
    if recipe.model.kind != pool.kind:
        encoder = pool.kind == "text" and getattr(recipe.model, "encoder", False) is None
        hint = "; give it an encoder, such as tfidf" if encoder else ""
        problems.append(f"model: '{recipe.model.name}' takes {recipe.model.kind}, the pool holds {pool.kind}{hint}")
    for feedback in [recipe.feedback, *recipe.feedbacks.values()]:
        if feedback is not None:
            problems += feedback.pool_problems(pool.kind, pool.width)
    for explainer in [recipe.explainer, *recipe.explainers.values()]:
        reason = explainer.unfit(pool.kind) if explainer is not None else None
        if explainer is not None and reason:
            problems.append(f"explainer: '{explainer.name}' {reason}")
    return problems


def _id_problems(pool: Pool) -> list[str]:
    """Ids that are missing or come more than once, which a ledger could not tell apart."""
    ids = pa.chunked_array([chunk for _, table in pool.scan(["id"]) for chunk in table["id"].chunks], pa.string())
    missing = ids.null_count + (pc.sum(pc.equal(ids, "")).as_py() or 0)
    repeated = len(ids) - pc.count_distinct(ids, mode="all").as_py() - max(ids.null_count - 1, 0)
    lines = [f"pool.source: {missing} rows have no id"] if missing else []
    if repeated > 0:
        counts = ids.value_counts()
        worst = counts.field("values")[pc.index(counts.field("counts"), pc.max(counts.field("counts"))).as_py()]
        lines.append(
            f"pool.source: {repeated} rows have the id of another, such as '{worst}'; build it with xal pool build"
        )
    return lines


def _answer_problems(recipe: Recipe, pool: Pool, label_space: LabelSpace) -> list[str]:
    """Items whose label a simulated annotator could not give."""
    if not pool.has_labels:
        return []  # said by the annotator
    blank = sum(
        label is None or not label.strip() for _, table in pool.scan(["label"]) for label in table["label"].to_pylist()
    )
    lines = []
    if blank:
        lines.append(
            f"annotator: '{recipe.annotator.name}' answers from the pool's labels, and {blank} of {len(pool)} items "
            "have none; build a pool of the labelled ones, or use annotator: file"
        )
    unknown = [] if label_space.open else label_space.unknown(pool.distinct_labels())
    if unknown:
        lines.append(f"pool.source: has labels outside the classes: {', '.join(unknown[:5])}; list all in pool.classes")
    return lines


def _missing_requirements(arm: Recipe, pools: Pools) -> list[str]:
    """Problems of an explainer or feedback that requires what the built model does not have."""
    parts = [("explainer", arm.explainer), ("feedback", arm.feedback)]
    lines = []
    for strategy in (part for named in arm.strategies.values() for part in named.parts()):
        for need in sorted(strategy.all_needs & MODEL_EVIDENCE):
            if reason := arm.model.missing_for(need, pools.shape, len(pools.label_space)):
                lines.append(f"strategy: '{strategy.name}' needs {need.replace('_', ' ')}, and {reason}")
    for field, part in parts:
        for requirement in sorted(part.requires) if part is not None else ():
            reason = arm.model.missing_for(requirement, pools.shape, len(pools.label_space))
            if part is not None and reason:
                lines.append(f"{field}: '{part.name}' needs {requirement.replace('_', ' ')}, and {reason}")
    return lines


def _relevance_problems(recipe: Recipe, measured: Pool | None) -> list[str]:
    """Problems of `evaluate_explanations`; [] if it is 0."""
    if not recipe.evaluate_explanations:
        return []
    lines = []
    if measured is None or not has_relevance(measured):
        lines.append("evaluate_explanations: give a pool.test with a column `relevant` or `irrelevant`, or set it to 0")
    explainers = [arm.explainer for arm in (recipe.of(name) for name in recipe.strategies)]
    if any(explainer is None for explainer in explainers):
        lines.append("evaluate_explanations: nothing is explained; name an explainer")
    if any(recipe.explains_concepts(explainer) for explainer in explainers):
        lines.append("evaluate_explanations: pools mark relevant parts of items, not concepts; set it to 0")
    return lines


def _pool_problems(name: str, other: Pool, pool: Pool, label_space: LabelSpace) -> list[str]:
    """Problems of a test or validation pool that does not match the pool to query."""
    if other.kind != pool.kind:
        return [f"{name}: holds {other.kind}, the pool {pool.kind}"]
    lines = []
    if other.width != pool.width:
        lines.append(f"{name}: its items have {other.width} features, the pool's {pool.width}")
    unknown = label_space.unknown(other.distinct_labels())
    if unknown:
        lines.append(f"{name}: has labels outside the classes: {', '.join(unknown[:5])}; list all in pool.classes")
    return lines
