"""Top 1000 by margin and entropy of 1,000,000 x 10 probabilities on one core: xal, plain numpy and modAL.

    python benchmarks/topk.py [--json FILE]

Plain numpy is the shortest correct expression: np.partition for the margin, -(p log p).sum for the entropy, then
np.argpartition and a sort of the k. xal uses the strategy's `score` and `Scored.top`, ties by id. modAL (modAL-python)
is called with a classifier that returns the same probabilities. The ids must be the same.
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy as np
from modAL.uncertainty import entropy_sampling, margin_sampling
from table import arguments, seconds, show, write

from xal.core.rng import HashRng
from xal.strategies import Strategy
from xal.types import Evidence, Scored

N, CLASSES, K = 1_000_000, 10, 1000


class FixedClassifier:
    """A classifier that returns fixed probabilities."""

    def __init__(self, probabilities: np.ndarray) -> None:
        self.probabilities = probabilities

    def predict_proba(self, items: object, **_: object) -> np.ndarray:
        return self.probabilities


def plain(scores: np.ndarray) -> np.ndarray:
    top = np.argpartition(-scores, K)[:K]
    return top[np.argsort(-scores[top], kind="stable")]


def main() -> None:
    options = arguments(__doc__).parse_args()
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(CLASSES), N)
    ids = np.array([f"{i:07d}" for i in range(N)], dtype=object)
    evidence = Evidence(ids=ids, rows=np.arange(N), probabilities=probabilities)
    classifier, items = FixedClassifier(probabilities), np.zeros((N, 1))

    def ours(name: str) -> np.ndarray:
        scores = Strategy.named(name)().score(evidence, None, HashRng(0))
        return Scored(ids=ids, rows=evidence.rows, scores=scores).top(K).rows

    def numpy_margin() -> np.ndarray:
        top = np.partition(probabilities, -2, axis=1)
        return plain(top[:, -2] - top[:, -1])

    def numpy_entropy() -> np.ndarray:
        return plain(-(probabilities * np.log(probabilities)).sum(axis=1))

    def modal(sampling: object) -> np.ndarray:
        result = sampling(classifier, items, n_instances=K)  # type: ignore[operator]
        return np.asarray(result[0] if isinstance(result, tuple) else result)

    calls = {
        "margin": {"ours": lambda: ours("margin"), "numpy": numpy_margin, "modal": lambda: modal(margin_sampling)},
        "entropy": {"ours": lambda: ours("entropy"), "numpy": numpy_entropy, "modal": lambda: modal(entropy_sampling)},
    }
    measures, rows = {}, []
    for name, methods in calls.items():
        chosen = {method: set(np.asarray(call()).tolist()) for method, call in methods.items()}
        if not chosen["ours"] == chosen["numpy"] == chosen["modal"]:
            raise SystemExit(f"{name}: the ids differ: {[len(chosen['ours'] ^ other) for other in chosen.values()]}")
        times = seconds(methods, options.repeats)
        measures[f"{name}_vs_numpy"] = times["ours"] / times["numpy"]
        measures[f"{name}_vs_modal"] = times["ours"] / times["modal"]
        rows.append([name, times["ours"], times["numpy"], times["modal"], len(chosen["ours"] & chosen["modal"])])
    show(f"top {K} of {N:,} x {CLASSES}, one core", ["", "ours s", "numpy s", "modAL s", "same ids"], rows)
    write(options.json, measures)


if __name__ == "__main__":
    main()
