"""Arrays of a pool in memory, and what a strategy asks of them, for the tests against plain implementations."""

from typing import Any

import numpy as np

import xal


def blobs(n: int = 300, d: int = 6, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """((n, d) embeddings in clusters, (n, classes) probabilities that follow the clusters, more or less)."""
    generator = np.random.default_rng(seed)
    cluster = generator.integers(0, classes, n)
    embeddings = generator.normal(size=(n, d)) + 3 * np.eye(classes, d)[cluster]
    logits = 2 * np.eye(classes)[cluster] + generator.normal(size=(n, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return embeddings, probabilities


def asked(strategy: Any, n: int, **given: Any) -> list[int]:
    """Positions that the strategy chooses, best first."""
    found = xal.query(strategy, n=n, **given)
    assert len(set(found.positions.tolist())) == n and all(note is not None for note in found.notes)
    return [int(position) for position in found.positions]
