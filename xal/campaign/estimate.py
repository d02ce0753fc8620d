"""What a recipe's campaigns will take, measured on a few items before anything is labelled.

A sample of items is read, decoded, predicted and explained, and a model is fitted to it for one epoch and for two; the
times are scaled to the pool, the labels and the epochs. People's time is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from xal.campaign.disk import size_of
from xal.campaign.pools import Pools
from xal.campaign.recipe import Recipe
from xal.campaign.trial import fit_sample, some_items, some_vectors
from xal.core.threads import threads
from xal.engine.worker import on_device
from xal.models.model import Weights
from xal.strategies.strategy import Strategy

SAMPLE = 64
ENOUGH_S = 1.0  # a longer measurement of explanations is not repeated with more items
COPIES = 2  # of each queried item on disk: itself, and its explanation


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Seconds of computing, bytes of disk and memory, of all runs of a recipe together."""

    embed_s: float
    """To embed the pools, once for all runs, if nothing is kept yet."""
    query_s: float
    train_s: float
    evaluate_s: float
    n_runs: int
    disk_bytes: int
    """Weights and queried items that all runs keep."""
    batch_bytes: int
    """The decoded items of the last training, in one process."""

    @property
    def total_s(self) -> float:
        """Seconds of all runs, one after the other."""
        return self.embed_s + self.query_s + self.train_s + self.evaluate_s

    def __str__(self) -> str:
        runs = f"{self.n_runs} run{'s' if self.n_runs > 1 else ''}"
        return (
            f"estimate, within a factor of 2 or 3: {_duration(self.total_s)} for {runs} one after the other "
            f"({f'embedding {_duration(self.embed_s)}, ' if self.embed_s else ''}queries "
            f"{_duration(self.query_s)}, training {_duration(self.train_s)}, evaluation {_duration(self.evaluate_s)}), "
            f"without the time of people; {size_of(self.disk_bytes)} on disk; {size_of(self.batch_bytes)} of labelled "
            "items in memory in the last round"
        )


def estimate(recipe: Recipe, pools: Pools, n_seeds: int = 1) -> Estimate:
    """Measure a few items of each arm and scale; takes some seconds."""
    arms = [_of_arm(recipe.of(name), strategy, pools) for name, strategy in recipe.strategies.items()]
    return Estimate(
        embed_s=arms[0].embed_s,
        query_s=n_seeds * sum(arm.query_s for arm in arms),
        train_s=n_seeds * sum(arm.train_s for arm in arms),
        evaluate_s=n_seeds * sum(arm.evaluate_s for arm in arms),
        n_runs=n_seeds * len(arms),
        disk_bytes=n_seeds * sum(arm.disk_bytes for arm in arms),
        batch_bytes=max(arm.batch_bytes for arm in arms),
    )


def _of_arm(recipe: Recipe, strategy: Strategy, pools: Pools) -> Estimate:
    budget, n_classes = recipe.budget, max(len(pools.label_space), 2)
    started = time.perf_counter()
    payload = some_items(pools, SAMPLE)
    read_s = (time.perf_counter() - started) / len(payload)
    measured = 0 if pools.measured is None else len(pools.measured)
    encoder, embed_s, learnt_from = recipe.model.kept_encoder, 0.0, payload
    with threads(1):
        if encoder is not None:  # rounds see the kept vectors alone
            seconds, learnt_from = _timed(lambda: some_vectors(pools, encoder, SAMPLE))
            embed_s = (read_s + seconds / len(payload)) * (len(pools.pool) + measured)
        kept = encoder is not None
        once_s, fitted = _timed(lambda: fit_sample(recipe, pools, learnt_from, 1, on_vectors=kept))
        twice_s, _ = _timed(lambda: fit_sample(recipe, pools, learnt_from, 2, on_vectors=kept))
        weights = Weights(arrays=fitted.arrays, shape=pools.shape, n_classes=n_classes)
        classifier = recipe.model.classifier(weights)
        inputs = on_device(payload, classifier.device)
        with torch.inference_mode():
            head, vectors = (classifier.head, learnt_from) if kept else (classifier, inputs)
            predict_s, _ = _timed(lambda: head.probabilities(vectors))
        explain_s = 0.0
        if recipe.explainer is not None:
            explainer = recipe.explainer
            stand_ins = inputs if explainer.n_baselines and pools.pool.kind != "text" else None
            model, items = (head, on_device(vectors, "cpu")) if explainer.of_embeddings else (classifier, inputs)
            for n in (4, 16, len(payload)):  # larger batches take less time an item
                seconds, _ = _timed(partial(explainer.explain, model, items[:n], None, stand_ins))
                explain_s = seconds / min(n, len(payload))
                if seconds > ENOUGH_S:
                    break
    predict_s = (0.0 if kept else read_s) + predict_s / len(payload)
    epoch_s = max(twice_s - once_s, 0.0)
    rounds = np.arange(budget.rounds + 1)
    labelled = budget.initial + budget.per_round * rounds
    fits = (max(once_s - epoch_s, 0.0) + epoch_s * recipe.train.epochs) * labelled.sum() / len(payload)
    parts = strategy.parts()
    predicted = len(pools.pool) if any(part.needs for part in parts) else 0
    explained = budget.per_round if recipe.explainer is not None else 0
    if any("explanations" in part.needs for part in parts):
        explained += min(part.n_candidates(budget.per_round) or len(pools.pool) for part in parts)
    explained *= budget.rounds
    if any(part.prepare_needs & {"explanations", "label_explanations"} for part in parts):
        explained += int(labelled.sum())
    workers = getattr(recipe.engine, "actors", 1)
    item_bytes = payload[0].nbytes if payload.dtype != object else int(np.mean([len(str(text)) for text in payload]))
    weight_bytes = sum(array.nbytes for array in fitted.arrays.values())
    return Estimate(
        embed_s=embed_s / workers,
        query_s=float((budget.rounds * predicted * predict_s + explained * explain_s) / workers),
        train_s=float(fits),
        evaluate_s=float(len(rounds) * measured * predict_s / workers),
        n_runs=1,
        disk_bytes=int(len(rounds) * weight_bytes + COPIES * item_bytes * budget.total),
        batch_bytes=int(item_bytes * budget.total),
    )


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = function()
    return time.perf_counter() - started, result


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
