"""Density weighting against a plain loop over distances."""

import numpy as np

from xal.core.rng import HashRng
from xal.strategies.density_weighted import DensityWeighted
from xal.types import Evidence, Labelled

RNG = HashRng(0)


def evidence(n: int, seed: int, **parts: object) -> Evidence:
    ids = np.array([f"{seed}-{i}" for i in range(n)], object)
    return Evidence(ids=ids, rows=np.arange(n), **parts)


def test_density_weighted_queries_what_is_far_from_the_labelled() -> None:
    generator = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = np.concatenate([centre + generator.normal(0, 0.1, (20, 2)) for centre in centres])
    labelled = Labelled(evidence=evidence(4, 1, embeddings=points[:4]), labels=np.zeros(4, np.int64))
    strategy = DensityWeighted(clusters=3)
    state = strategy.prepare(labelled, evidence(60, 2, embeddings=points), None)
    scores = strategy.score(evidence(60, 2, embeddings=points), state, RNG)
    assert scores[:20].max() < 1 < 5 < scores[20:].min()
    by_loop = [
        min(np.linalg.norm(np.linalg.norm(state.centres - x, axis=1) - s) for s in state.labelled) for x in points
    ]
    np.testing.assert_allclose(scores, by_loop, atol=1e-6)
