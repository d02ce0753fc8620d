"""How well LIME finds what a self-explaining network says exactly (CALI, question 1): recall at k, spread, and time.

An item's exact explanation is w_j(x) phi_j(x), what each feature adds to the margin; recall at k is the share of its k
largest, by size, among LIME's k largest. The spread is the standard deviation over LIME's seeds, of an item.
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
    """One setting of LIME on one run."""

    epochs: int
    samples: int
    repeats: int
    recall: float
    spread: float
    ms: float  # an item, LIME
    exact_ms: float  # an item


def against_exact(
    directory: Path, samples: Sequence[int], repeats: Sequence[int], items: int, k: int, seeds: int = 5
) -> list[Row]:
    """Of items of the run's test pool, else its pool; RunError for a model that does not explain itself."""
    run = open_trained_run(directory)
    if "self_explaining" not in run.model.provides:
        raise RunError(f"{directory} has no self-explaining model (senn), so LIME cannot be held against the exact one")
    if "concepts" in run.model.provides:
        raise RunError(
            f"{directory}: its model explains concepts, LIME parts of items; there is no exact one to compare"
        )
    with threads(1):  # as engines do: times mean one core, and do not fight for others
        pool = run.measured_pool
        rows = np.sort(np.random.default_rng(0).permutation(len(pool))[:items])
        payload, _ = payload_of(pool.read(rows, [pool.kind])[pool.kind], pool.kind, run.shape)
        worker = run.worker()
        classifier = worker.classifier(run.ref)
        given = on_device(payload, "cpu")
        baselines = given[:8] if worker.baselines is None else worker.baselines
        began = perf_counter()
        exact = SelfExplaining().explain(classifier, given)
        exact_ms = 1000 * (perf_counter() - began) / len(rows)
        truth = np.abs(dense(exact.attributions) * dense(exact.interpretable_input))
        of = torch.from_numpy(exact.explained_class)
        found = []
        for s in samples:
            for r in repeats:
                began = perf_counter()
                limes = [Lime(samples=s, repeats=r, output="margin", seed=seed) for seed in range(seeds)]
                each = [
                    recall_at(k, truth, np.abs(dense(lime.explain(classifier, given, of, baselines).attributions)))
                    for lime in limes
                ]
                took = 1000 * (perf_counter() - began) / len(rows) / seeds
                recalls = np.stack(each)
                found.append(
                    Row(
                        epochs=int(run.recipe["train"]["epochs"]),
                        samples=s,
                        repeats=r,
                        recall=float(recalls.mean()),
                        spread=float(recalls.std(axis=0, ddof=1).mean()),
                        ms=took,
                        exact_ms=exact_ms,
                    )
                )
    return found


def recall_at(k: int, truth: npt.NDArray[np.float64], found: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n,) share of the k largest of each row of `truth` among the k largest of `found`."""
    tops = [np.argsort(-values, axis=1, kind="stable")[:, :k] for values in (truth, found)]
    return np.array([len(set(one) & set(other)) / k for one, other in zip(*map(np.ndarray.tolist, tops), strict=True)])
