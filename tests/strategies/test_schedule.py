"""Schedules: which strategy runs in which round."""

import math

import pytest

from tests.strategies.fake_passes import FakePasses, evidence
from xal.core.rng import HashRng
from xal.errors import XalError
from xal.strategies import Strategy
from xal.strategies.ebano_uncertainty import EbanoUncertainty
from xal.strategies.entropy import Entropy
from xal.strategies.margin import Margin
from xal.strategies.random import Random
from xal.strategies.schedule import EarlyMix, LateMix, Schedule

RNG = HashRng(0)
ROUNDS = [1, 2, 3, 4, 5, 10, 11]


def reasons(strategy: Strategy, n_rounds: int) -> list[str]:
    """Which strategy chose, in each round."""
    pool = evidence(20)
    asked = [FakePasses(pool=pool, labels={}, round=r, n_rounds=n_rounds) for r in range(1, n_rounds + 1)]
    return [passes.query(strategy, 1, RNG).reasons[0] for passes in asked]


@pytest.mark.parametrize("rounds", ROUNDS)
def test_early_and_late_mix_switch_after_the_first_half(rounds: int) -> None:
    """The first half is the longer one where the number is odd."""
    ebano = EbanoUncertainty(threshold=-2)
    head, tail = math.ceil(rounds / 2), rounds // 2
    assert reasons(EarlyMix(strategy=ebano), rounds) == ["ebano_uncertainty"] * head + ["entropy"] * tail
    assert reasons(LateMix(strategy=ebano), rounds) == ["entropy"] * head + ["ebano_uncertainty"] * tail


def test_mixes_run_the_strategies_that_they_were_given() -> None:
    one, other = Random(), Margin()
    assert reasons(EarlyMix(strategy=one, other=other), 2) == ["random", "margin"]
    assert reasons(LateMix(strategy=one, other=other), 2) == ["margin", "random"]
    assert EarlyMix().wrapped() == (EbanoUncertainty(), Entropy())
    assert LateMix().wrapped() == (Entropy(), EbanoUncertainty())


@pytest.mark.parametrize("rounds", [1, 2, 3, 7, 12])
@pytest.mark.parametrize("m", [1, 2, 3, 5])
def test_a_schedule_shares_out_the_rounds_evenly_and_in_order(m: int, rounds: int) -> None:
    strategies = tuple(EbanoUncertainty(threshold=i / 10) for i in range(m))
    schedule = Schedule(strategies=strategies)
    places = [strategies.index(schedule.for_round(r, rounds)) for r in range(1, rounds + 1)]
    assert places[0] == 0 and places == sorted(places)
    shares = [places.count(i) for i in range(m)]
    assert max(shares) - min(shares) <= 1


def test_schedules_nest() -> None:
    schedule = Schedule(strategies=(Random(), EarlyMix(strategy=Margin(), other=Entropy())))
    # rounds 1-2 of 4 are random; 3 and 4 lie in the second half of the campaign, so the mix runs its second
    assert reasons(schedule, 4) == ["random", "random", "entropy", "entropy"]


def test_an_empty_schedule_is_refused() -> None:
    with pytest.raises(XalError, match="at least one"):
        Schedule(strategies=())


@pytest.mark.parametrize("strategy", [EarlyMix(), LateMix(), Schedule(strategies=(Random(),))])
def test_a_schedule_itself_does_not_score(strategy: Strategy) -> None:
    with pytest.raises(TypeError, match="it runs other strategies"):
        strategy.score(evidence(5), None, RNG)
