"""Compare LIME with the exact explanations of a self-explaining network (CALI, question 1): recall at k, spread, time.

The exact attribution of feature j is w_j(x) phi_j(x), its contribution to the margin. Recall at k is the share of the k
features of largest absolute exact attribution that are among LIME's k largest. The spread is the standard deviation of
an item's recall over LIME's seeds, averaged over items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt
import torch

from xal.campaign.trained_run import open_trained_run
from xal.core.threads import threads
from xal.data.decode import payload_of
from xal.engine.worker import on_device
from xal.errors import RunError
from xal.explainers.lime import Lime
from xal.explainers.self_explaining import SelfExplaining
from xal.types import dense


@dataclass(frozen=True, kw_only=True)
class Row:
    """The results of one LIME setting on one run."""

    epochs: int  # of the run's training
    samples: int
    repeats: int
    recall: float  # in [0, 1], mean over items and seeds
    spread: float  # standard deviation over seeds, mean over items
    ms: float  # milliseconds per item, LIME
    exact_ms: float  # milliseconds per item, exact explanation


def against_exact(
    directory: Path, samples: Sequence[int], repeats: Sequence[int], items: int, k: int, seeds: int = 5
) -> list[Row]:
    """One row per pair of `samples` and `repeats`, on random items of the run's test pool, else of its pool.

    Raises RunError for a model that does not explain itself, or explains concepts.
    """
    run = open_trained_run(directory)
    if "self_explaining" not in run.model.provides:
        raise RunError(f"{directory} has no self-explaining model; train one (senn) to compare LIME with")
    if "concepts" in run.model.provides:
        raise RunError(
            f"{directory}: its model explains concepts, LIME explains parts of items; use senn with phi: identity"
        )
    with threads(1):  # as engines do, so that times are of one core
        pool = run.measured_pool
        rows = np.sort(np.random.default_rng(0).permutation(len(pool))[:items])
        payload, _ = payload_of(pool.read(rows, [pool.kind])[pool.kind], pool.kind, run.shape)
        worker = run.worker()
        classifier = worker.classifier(run.ref)
        inputs = on_device(payload, "cpu")
        baselines = inputs[:8] if worker.baselines is None else worker.baselines
        started = perf_counter()
        explanation = SelfExplaining().explain(classifier, inputs)
        exact_ms = 1000 * (perf_counter() - started) / len(rows)
        exact = np.abs(dense(explanation.attributions) * dense(explanation.interpretable_input))
        targets = torch.from_numpy(explanation.explained_class)
        results = []
        for n_samples in samples:
            for n_repeats in repeats:
                started = perf_counter()
                recalls = []
                for seed in range(seeds):
                    lime = Lime(samples=n_samples, repeats=n_repeats, output="margin", seed=seed)
                    attributions = dense(lime.explain(classifier, inputs, targets, baselines).attributions)
                    recalls.append(recall_at(k, exact, np.abs(attributions)))
                ms = 1000 * (perf_counter() - started) / len(rows) / seeds
                by_seed = np.stack(recalls)
                results.append(
                    Row(
                        epochs=int(run.recipe["train"]["epochs"]),
                        samples=n_samples,
                        repeats=n_repeats,
                        recall=float(by_seed.mean()),
                        spread=float(by_seed.std(axis=0, ddof=1).mean()),
                        ms=ms,
                        exact_ms=exact_ms,
                    )
                )
    return results


def recall_at(k: int, exact: npt.NDArray[np.float64], estimated: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n,) share of the k largest values in each row of `exact` that are among the k largest of `estimated`."""
    tops = [np.argsort(-values, axis=1, kind="stable")[:, :k] for values in (exact, estimated)]
    return np.array([len(set(one) & set(other)) / k for one, other in zip(*map(np.ndarray.tolist, tops), strict=True)])
