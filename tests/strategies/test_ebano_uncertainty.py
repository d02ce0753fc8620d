"""EBAnO-Uncertainty against the thesis's rule, written out item by item."""

import numpy as np
import pytest

from tests.strategies.fake_passes import FakePasses, evidence
from xal.core.rng import HashRng
from xal.errors import XalError
from xal.strategies.ebano_uncertainty import EbanoUncertainty
from xal.strategies.entropy import Entropy
from xal.strategies.npir_gap import NpirGap
from xal.strategies.random import Random
from xal.strategies.schedule import EarlyMix

RNG = HashRng(0)
POOL = evidence(80)


def passes() -> FakePasses:
    return FakePasses(pool=POOL, labels=dict.fromkeys(POOL.ids[:6].tolist(), 0))


def largest(scores: np.ndarray, ids: np.ndarray) -> list[str]:
    return [str(ids[i]) for i in sorted(range(len(ids)), key=lambda i: (-scores[i], ids[i]))]


@pytest.mark.parametrize(("candidates", "limit", "threshold"), [(30, None, 0.5), (30, 4, 0.5), (None, None, 1.2)])
def test_the_thesis_rule(candidates: int | None, limit: int | None, threshold: float) -> None:
    """kappa random items; m(x) > eta, largest first, at most l_U; then by entropy over the whole pool."""
    budget = 20
    strategy = EbanoUncertainty(candidates=candidates, limit=limit, threshold=threshold)
    query = passes().query(strategy, budget, RNG)
    free = POOL.take(slice(6, None))
    subset = free
    if candidates is not None:
        drawn = largest(RNG.child("prefilter").uniform(free.ids), free.ids)[:candidates]
        subset = free.take(np.isin(free.ids.astype(str), drawn))
    m = NpirGap().score(subset, None, RNG)
    first = [item for item in largest(m, subset.ids) if m[subset.ids.tolist().index(item)] > threshold][:limit][:budget]
    rest = [item for item in largest(Entropy().score(free, None, RNG), free.ids) if item not in first]
    assert 0 < len(first) < budget
    assert query.items.ids.tolist() == first + rest[: budget - len(first)]
    assert query.reasons == ("ebano_uncertainty",) * len(first) + ("entropy",) * (budget - len(first))


def test_only_the_candidates_are_explained() -> None:
    given = passes()
    given.query(EbanoUncertainty(candidates=17, candidates_from=Entropy(), fallback=Random()), 10, RNG)
    assert [(name, n) for _, name, n in given.asked][:2] == [("entropy", 74), ("npir_gap", 17)]


def test_a_schedule_can_fill() -> None:
    """The fallback is any strategy: one that wraps others, too."""
    mix = EarlyMix(strategy=Random(), other=Entropy())
    nothing = EbanoUncertainty(threshold=2, fallback=mix)
    given = FakePasses(pool=POOL, labels={}, round=1, n_rounds=2)
    assert set(given.query(nothing, 5, RNG).reasons) == {"random"}
    later = FakePasses(pool=POOL, labels={}, round=2, n_rounds=2)
    assert set(later.query(nothing, 5, RNG).reasons) == {"entropy"}


def test_mistakes_are_found_when_it_is_built() -> None:
    with pytest.raises(XalError, match="give their number"):
        EbanoUncertainty(candidates=None, candidates_from=Entropy())
    with pytest.raises(XalError, match="would explain the whole pool"):
        EbanoUncertainty(candidates_from=NpirGap())


def test_its_parts_are_what_a_recipe_checks() -> None:
    names = {part.name for part in EbanoUncertainty().parts()}
    assert {"ebano_uncertainty", "npir_gap", "random", "entropy"} <= names
    assert EbanoUncertainty().augmentation is None
