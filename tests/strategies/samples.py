"""Random evidence of a few items, for the tests of strategies."""

import numpy as np
from scipy import sparse

from xal.types import Evidence, Explanations


def predicted(probabilities: np.ndarray) -> Evidence:
    ids = np.array([f"item-{i}" for i in range(len(probabilities))], object)
    return Evidence(ids=ids, rows=np.arange(len(ids)), probabilities=probabilities)


def random_probabilities(seed: int, n: int = 50, c: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(c), n)


def explanations(n: int, seed: int, f: int = 12, as_sparse: bool = False) -> Explanations:
    generator = np.random.default_rng(seed)
    interpretable_input = (generator.random((n, f)) < 0.4).astype(float)
    attributions = generator.normal(size=(n, f)) * interpretable_input
    if as_sparse:
        attributions, interpretable_input = sparse.csr_array(attributions), sparse.csr_array(interpretable_input)
    return Explanations(
        feature_kind="words" if as_sparse else "columns",
        attributions=attributions,
        interpretable_input=interpretable_input,
        explained_class=generator.integers(0, 3, n),
        probability=np.ones(n),
    )


def evidence(n: int, seed: int, **parts: object) -> Evidence:
    ids = np.array([f"{seed}-{i}" for i in range(n)], object)
    return Evidence(ids=ids, rows=np.arange(n), **parts)
