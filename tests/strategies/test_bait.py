"""BAIT against the definition: inverses anew in every step, in float64."""

import numpy as np
import pytest

from tests.strategies.arrays import asked, blobs


def plain(embeddings, probabilities, labelled, budget: int) -> list[int]:
    x = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    p = probabilities.max(axis=1)
    fisher = (p * (1 - p))[:, None, None] * np.einsum("ni,nj->nij", x, x)
    free = np.setdiff1d(np.arange(len(x)), labelled)
    n, d = len(labelled), x.shape[1]
    pool = fisher[free].mean(axis=0)
    start = 0.01 * np.eye(d) + (n / (n + budget) * fisher[labelled].mean(axis=0) if n else 0)
    share = budget / (n + budget)

    def trace(chosen: list[int]) -> float:
        return float(np.trace(np.linalg.inv(start + share * fisher[chosen].sum(axis=0)) @ pool))

    chosen: list[int] = []
    for _ in range(2 * budget):
        chosen.append(min((i for i in free if i not in chosen), key=lambda i: trace([*chosen, i])))
    while len(chosen) > budget:
        chosen.remove(min(chosen, key=lambda i: trace([j for j in chosen if j != i])))
    return [int(i) for i in chosen]


@pytest.mark.parametrize("n_labelled", [0, 12])
def test_the_batch_is_that_of_the_definition(n_labelled: int) -> None:
    embeddings, probabilities = blobs(n=80)
    labelled = list(range(n_labelled))
    found = asked("bait", 8, embeddings=embeddings, probabilities=probabilities, labelled=labelled)
    assert found == plain(embeddings, probabilities, labelled, 8)


def test_many_steps_do_not_drift() -> None:
    """The updates of 2 x 60 steps against inverses anew, on vectors of low rank."""
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(150, 3)) @ generator.normal(size=(3, 12)) + 0.01 * generator.normal(
        size=(150, 12)
    )
    _, probabilities = blobs(n=150)
    found = asked("bait", 60, embeddings=embeddings, probabilities=probabilities)
    assert found == plain(embeddings, probabilities, [], 60)


def test_all_certain_and_vectors_of_zeros() -> None:
    embeddings, _ = blobs(n=20)
    certain = np.tile([1.0, 0.0], (20, 1))
    assert len(asked("bait", 15, embeddings=embeddings, probabilities=certain)) == 15
    assert len(asked("bait", 15, embeddings=np.zeros((20, 3)), probabilities=np.full((20, 2), 0.5))) == 15
