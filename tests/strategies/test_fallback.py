"""Fallback: the rest of the batch, without repeats, each item with the strategy that chose it."""

from tests.strategies.fake_passes import FakePasses, evidence
from xal.core.rng import HashRng
from xal.strategies.entropy import Entropy
from xal.strategies.fallback import Fallback
from xal.strategies.least_confidence import LeastConfidence
from xal.strategies.margin import Margin
from xal.strategies.threshold import Threshold

RNG = HashRng(0)


def passes() -> FakePasses:
    return FakePasses(pool=evidence(40), labels={})


def test_the_rest_is_the_others_best_of_what_is_left() -> None:
    first = Threshold(strategy=Margin(), above=-1.0, limit=4)
    query = passes().query(Fallback(strategy=first, fallback=Entropy()), 10, RNG)
    alone = passes().query(Margin(), 4, RNG).items.ids.tolist()
    by_entropy = [item for item in passes().query(Entropy(), 40, RNG).items.ids.tolist() if item not in alone]
    assert query.items.ids.tolist() == alone + by_entropy[:6]
    assert query.reasons == ("margin",) * 4 + ("entropy",) * 6


def test_a_spent_budget_asks_nobody_else() -> None:
    given = passes()
    assert given.query(Fallback(strategy=Margin(), fallback=Entropy()), 10, RNG).reasons == ("margin",) * 10
    assert [name for _, name, _ in given.asked] == ["margin"]


def test_fallbacks_nest() -> None:
    """A fallback of a fallback sees what neither of the others took."""
    nothing = Threshold(strategy=Entropy(), above=100.0)
    some = Threshold(strategy=Margin(), above=-1.0, limit=3)
    query = passes().query(
        Fallback(strategy=nothing, fallback=Fallback(strategy=some, fallback=LeastConfidence())), 8, RNG
    )
    assert query.reasons == ("margin",) * 3 + ("least_confidence",) * 5
    assert len(set(query.items.ids)) == 8
