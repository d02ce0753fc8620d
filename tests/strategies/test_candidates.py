"""Candidates: the strategy is asked about the chosen items alone."""

import numpy as np
import pytest

from tests.strategies.fake_passes import FakePasses, evidence
from xal.core.rng import HashRng
from xal.errors import XalError
from xal.strategies.candidates import Candidates
from xal.strategies.density_weighted import DensityWeighted
from xal.strategies.entropy import Entropy
from xal.strategies.fallback import Fallback
from xal.strategies.margin import Margin
from xal.strategies.npir_gap import NpirGap

RNG = HashRng(3)
POOL = evidence(60)


def passes() -> FakePasses:
    labels = dict.fromkeys(POOL.ids[:5].tolist(), 0)
    return FakePasses(pool=POOL, labels=labels)


def test_the_best_of_the_candidates() -> None:
    """Of the 12 least certain items those of smallest margin, by two plain sorts."""
    given = passes()
    query = given.query(Candidates(strategy=Margin(), n=12, candidates_from=Entropy()), 4, RNG)
    free = POOL.take(slice(5, None))
    chosen = np.sort(np.argsort(-Entropy().score(free, None, RNG), kind="stable")[:12])
    margins = Margin().score(free.take(chosen), None, RNG)
    assert query.items.ids.tolist() == free.ids[chosen][np.argsort(-margins, kind="stable")[:4]].tolist()
    assert query.reasons == ("margin",) * 4
    assert [(name, n) for _, name, n in given.asked] == [("entropy", 55), ("margin", 12)]


def test_by_default_they_are_a_random_subset() -> None:
    query = passes().query(Candidates(strategy=Margin(), n=12), 12, RNG)
    free = POOL.ids[5:]
    drawn = free[np.argsort(-RNG.child("prefilter").uniform(free))[:12]]
    assert sorted(query.items.ids) == sorted(drawn)


def test_more_candidates_than_items_are_all_items() -> None:
    query = passes().query(Candidates(strategy=Margin(), n=1000), 6, RNG)
    assert query.items.ids.tolist() == passes().query(Margin(), 6, RNG).items.ids.tolist()


@pytest.mark.parametrize(
    "chooser", [DensityWeighted(clusters=3), Candidates(strategy=Margin(), n=20), Fallback(strategy=Entropy())]
)
def test_a_chooser_that_prepares_or_wraps_chooses_by_its_own_query(chooser: object) -> None:
    given = passes()
    query = given.query(Candidates(strategy=Margin(), n=9, candidates_from=chooser), 9, RNG)  # type: ignore[arg-type]
    expected = passes().query(chooser, 9, RNG.child("preselect"))  # type: ignore[arg-type]
    assert sorted(query.items.ids) == sorted(expected.items.ids)
    assert set(query.reasons) == {"margin"}


def test_candidates_are_not_chosen_by_what_they_save() -> None:
    for chooser in (NpirGap(), Fallback(strategy=NpirGap())):
        with pytest.raises(XalError, match="would explain the whole pool"):
            Candidates(strategy=Margin(), candidates_from=chooser)
