"""ALEX against a double loop over the pool and the labelled items."""

import numpy as np
import pytest

from tests.strategies.fake_passes import FakePasses
from tests.strategies.fake_passes import evidence as pool_evidence
from tests.strategies.samples import evidence, explanations
from xal.core.rng import HashRng
from xal.errors import XalError
from xal.strategies.alex import EPS, Alex
from xal.strategies.entropy import Entropy
from xal.strategies.least_confidence import LeastConfidence
from xal.types import Labelled

RNG = HashRng(0)


@pytest.mark.parametrize("divergence", ["kl", "cosine"])
@pytest.mark.parametrize("as_sparse", [False, True])
def test_alex_is_the_double_loop(divergence: str, as_sparse: bool) -> None:
    labelled, pool = explanations(9, 1, as_sparse=as_sparse), explanations(15, 2, as_sparse=as_sparse)

    def distributions(n: int, seed: int) -> np.ndarray:
        weight = np.abs(explanations(n, seed).attributions) + EPS
        return weight / weight.sum(axis=1, keepdims=True)

    expected = np.zeros(15)
    for u, p in enumerate(distributions(15, 2)):
        for q in distributions(9, 1):
            cosine = 1 - p @ q / np.linalg.norm(p) / np.linalg.norm(q)
            expected[u] += (cosine if divergence == "cosine" else (p * np.log(p / q)).sum()) / 9
    strategy = Alex(divergence=divergence)
    known = Labelled(evidence=evidence(9, 1, explanations=labelled), labels=np.zeros(9, np.int64))
    state = strategy.prepare(known, None, None)
    found = strategy.score(evidence(15, 2, explanations=pool), state, RNG)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("uncertainty", ["least_confidence", "entropy"])
def test_candidates_are_the_least_certain_k_a_queried_item(uncertainty: str) -> None:
    """The whole query by sorts: 3 x 4 candidates by uncertainty, of those the 4 of largest divergence."""
    pool = pool_evidence(50, space="shared")
    labels = dict.fromkeys(pool.ids[:5].tolist(), 0)
    passes = FakePasses(pool=pool, labels=labels)
    strategy = Alex(uncertainty=uncertainty)  # type: ignore[arg-type]
    query = passes.query(strategy, 4, RNG)
    chooser = LeastConfidence() if uncertainty == "least_confidence" else Entropy()
    candidates = passes.query(chooser, 12, RNG).items
    state = passes.prepare(strategy, 4, RNG)
    among = pool.take(candidates.rows)
    scores = strategy.score(among, state, RNG)
    assert query.items.ids.tolist() == among.ids[np.argsort(-scores, kind="stable")[:4]].tolist()
    assert query.reasons == ("alex",) * 4
    assert ("candidates", chooser.name, 45) in passes.asked and ("score", "alex", 12) in passes.asked
    assert {part.name for part in strategy.parts()} == {"alex", chooser.name}


def test_without_labelled_items_there_is_nothing_to_compare_with() -> None:
    with pytest.raises(XalError, match="label some"):
        FakePasses(pool=pool_evidence(20, space="shared"), labels={}).query(Alex(), 2, RNG)
