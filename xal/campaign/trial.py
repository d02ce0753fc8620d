"""Try on a few real items what a campaign does later: train for an epoch, predict, explain.

What fails here would otherwise fail after people have labelled the first batch: weights that cannot be loaded, a
network that does not take the items or returns something else, an explainer that does not fit it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from xal.campaign.pools import Pools
from xal.campaign.recipe import Recipe
from xal.core.progress import Reporter
from xal.core.threads import threads
from xal.data.decode import payload_of
from xal.encoders import Encoder
from xal.engine.embedding import vectors_in
from xal.engine.worker import on_device
from xal.errors import ConfigError, DataError, ResourceError, XalError
from xal.explainers import Explainer
from xal.models.model import Weights
from xal.models.training_data import Fitted, TrainContext, TrainingData

ITEMS_PER_CLASS, MAX_ITEMS, LOOKED_AT = 2, 12, 64


def try_recipe(recipe: Recipe, pools: Pools, reporter: Reporter | None = None) -> int:
    """Train each arm's model on a few items of the pool with made-up labels, predict and explain one of them.

    Says what is downloaded. Returns the bytes of a model's weights. Raises ConfigError that names the section which
    failed.
    """
    reporter = reporter or Reporter(quiet=True)
    if recipe.model.download is not None:
        reporter.say(f"downloads {recipe.model.download}")
    with reporter.step("trying model and explainer on a few items"):
        return _try_arms(recipe, pools)


def _try_arms(recipe: Recipe, pools: Pools) -> int:
    tried: list[Explainer | None] = []
    weight_bytes = 0
    for arm in (recipe.of(name) for name in recipe.strategies):
        if any(arm.explainer == other for other in tried):
            continue
        tried.append(arm.explainer)
        weight_bytes = max(weight_bytes, _try_arm(arm, pools))
    return weight_bytes


def _try_arm(recipe: Recipe, pools: Pools) -> int:
    shape, n_classes = pools.shape, max(len(pools.label_space), 2)
    number = min(max(ITEMS_PER_CLASS * n_classes, 4), MAX_ITEMS)
    encoder = recipe.model.kept_encoder
    given = encoder is not None and encoder.pool_column is not None
    payload = some_vectors(pools, encoder, number) if encoder is not None and given else some_items(pools, number)
    with _named("model", recipe.model.name), threads(1):
        fitted = fit_sample(recipe, pools, payload, on_vectors=given)
        weights = Weights(arrays=fitted.arrays, shape=shape, n_classes=n_classes)
        classifier = recipe.model.classifier(weights)
        classifier = classifier.head if given else classifier
        inputs = on_device(payload[:1], classifier.device)
        with torch.inference_mode():
            probabilities = classifier.probabilities(inputs)
        if tuple(probabilities.shape) != (1, n_classes):
            raise XalError(f"gives {tuple(probabilities.shape)} for one item of {n_classes} classes")
    weight_bytes = sum(array.nbytes for array in fitted.arrays.values())
    if recipe.explainer is None:
        return weight_bytes
    with _named("explainer", recipe.explainer.name), threads(1):
        stand_ins = on_device(payload, classifier.device) if recipe.explainer.n_baselines else None
        recipe.explainer.explain(classifier, inputs, None, None if pools.pool.kind == "text" else stand_ins)
    return weight_bytes


def fit_sample(
    recipe: Recipe, pools: Pools, payload: npt.NDArray[Any], epochs: int = 1, on_vectors: bool = False
) -> Fitted:
    """The recipe's model, fitted to a few items with made-up labels of every class.

    on_vectors: the payload is what the model's encoder gave for them.
    """
    n_classes = max(len(pools.label_space), 2)
    data = TrainingData(
        inputs=payload,
        labels=np.arange(len(payload)) % n_classes,
        n_classes=n_classes,
        shape=pools.shape,
        n_labelled=len(payload),
        on_vectors=on_vectors,
    )
    settings = replace(recipe.train, epochs=epochs, finetune_epochs=None, validation=0)
    return recipe.model.fit(data, TrainContext(settings=settings, seed=0))


def some_items(pools: Pools, number: int) -> npt.NDArray[Any]:
    """(n, ...) payload of up to `number` readable items, evenly spaced; DataError if fewer than two can be read."""
    pool = pools.pool
    for looked_at in (number, LOOKED_AT):
        rows = np.linspace(0, len(pool) - 1, min(looked_at, len(pool))).round().astype(np.int64)
        payload, good = payload_of(pool.read(rows, [pool.kind])[pool.kind], pool.kind, pools.shape)
        if good.sum() >= 2:
            return payload[good][:number]
    raise DataError(f"fewer than two of {len(rows)} items looked at in {pool.folder} can be read")


def some_vectors(pools: Pools, encoder: Encoder, number: int) -> npt.NDArray[np.float32]:
    """(n, d) vectors of up to `number` items; DataError if fewer than two have one."""
    if encoder.pool_column is None:
        return np.asarray(encoder.load({}).vectors(some_items(pools, number)), np.float32)
    rows = np.linspace(0, len(pools.pool) - 1, min(LOOKED_AT, len(pools.pool))).round().astype(np.int64)
    vectors = vectors_in(pools.pool, encoder.pool_column, rows)
    vectors = vectors[np.isfinite(vectors).all(axis=1)]
    if len(vectors) < 2:
        raise DataError(f"fewer than two of {len(rows)} items looked at in {pools.pool.folder} have a vector")
    return vectors[:number]


@contextmanager
def _named(section: str, name: str) -> Iterator[None]:
    """Name the section of the recipe that failed; a user's code may raise anything."""
    try:
        yield
    except (ConfigError, ResourceError):
        raise
    except Exception as error:
        reason = str(error).strip() or type(error).__name__
        raise ConfigError([f"{section}: '{name}' fails on items of the pool: {reason}"]) from error
