"""Each strategy against its formula, written out as a plain loop or as a closed form."""

import math

import numpy as np
import pytest
from scipy.stats import kstest

from xal.core.rng import HashRng
from xal.errors import XalError
from xal.strategies import Strategy
from xal.strategies.ebano_uncertainty import EbanoUncertainty
from xal.strategies.entropy import Entropy
from xal.strategies.least_confidence import LeastConfidence
from xal.strategies.margin import Margin
from xal.strategies.random import Random
from xal.strategies.schedule import EarlyMix, LateMix, Schedule
from xal.types import Evidence, Explanations, Scored

RNG = HashRng(0).child("round", 1)


def ids_of(n):
    return np.array([f"item-{i}" for i in range(n)], object)


def evidence(probabilities=None, explanations=None, n=None):
    n = n or len(probabilities if probabilities is not None else explanations)
    return Evidence(ids=ids_of(n), rows=np.arange(n), probabilities=probabilities, explanations=explanations)


def score(strategy, given, rng=RNG):
    return strategy.score(given, None, rng)


def probabilities(seed, n=50, c=7):
    return np.random.default_rng(seed).dirichlet(np.ones(c), n)


def test_entropy_is_the_sum_of_its_definition():
    p = probabilities(0)
    expected = [-sum(x * math.log(x) for x in row) for row in p]
    np.testing.assert_allclose(score(Entropy(), evidence(p)), expected, rtol=1e-12)


@pytest.mark.parametrize("c", [2, 3, 10])
def test_entropy_at_its_bounds(c):
    """Uniform: log c nats. Certain: 0, since 0 log 0 = 0. Half and half: log 2, whatever else is 0."""
    half = np.zeros(c)
    half[:2] = 0.5
    p = np.stack([np.full(c, 1 / c), np.eye(c)[0], half])
    np.testing.assert_allclose(score(Entropy(), evidence(p)), [math.log(c), 0.0, math.log(2)], atol=1e-12)


def test_entropy_keeps_double_precision_in_the_sum_of_single_precision_terms():
    p = probabilities(1, c=1000).astype(np.float32)
    expected = [-math.fsum(float(x) * math.log(x) for x in row if x > 0) for row in p]
    scores = score(Entropy(), evidence(p))
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, expected, rtol=1e-6)  # single precision has a relative step of 1.2e-7


def test_margin_is_the_gap_of_the_two_largest():
    p = probabilities(2)
    expected = []
    for row in p:
        first, second = sorted(row, reverse=True)[:2]
        expected.append(-(first - second))
    np.testing.assert_allclose(score(Margin(), evidence(p)), expected, rtol=1e-12)


def test_margin_at_its_bounds():
    """Certain: -1. A tie of the two likeliest: 0. Two classes: -|2 p - 1|."""
    p = np.array([[1.0, 0.0], [0.5, 0.5], [0.3, 0.7]])
    np.testing.assert_allclose(score(Margin(), evidence(p)), [-abs(2 * row[0] - 1) for row in p], atol=1e-15)


def test_least_confidence_is_one_minus_the_largest():
    p = probabilities(3)
    np.testing.assert_allclose(score(LeastConfidence(), evidence(p)), [1 - max(row) for row in p], rtol=1e-12)


def test_least_confidence_at_its_bounds():
    """Certain: 0. Uniform over c classes: 1 - 1/c."""
    p = np.stack([np.eye(4)[2], np.full(4, 0.25)])
    np.testing.assert_array_equal(score(LeastConfidence(), evidence(p)), [0, 1 - 1 / 4])


@pytest.mark.parametrize("strategy", [Entropy(), Margin(), LeastConfidence()])
def test_the_surest_item_is_last_and_the_most_doubtful_first(strategy):
    p = np.array([[0.98, 0.01, 0.01], [1 / 3, 1 / 3, 1 / 3], [0.7, 0.2, 0.1]])
    assert np.argsort(-score(strategy, evidence(p))).tolist() == [1, 2, 0]


@pytest.mark.parametrize("strategy", [Entropy(), Margin(), LeastConfidence()])
def test_missing_probabilities_are_an_error_of_the_plan(strategy):
    with pytest.raises(TypeError, match="needs"):
        score(strategy, evidence(n=3))


def test_random_draws_are_uniform():
    """Kolmogorov-Smirnov against U(0, 1), and a mean within four standard errors 1/sqrt(12 n) of 1/2."""
    n = 20_000
    draws = score(Random(), evidence(n=n))
    assert draws.min() >= 0 and draws.max() < 1
    assert kstest(draws, "uniform").pvalue > 1e-3
    assert abs(draws.mean() - 0.5) < 4 / math.sqrt(12 * n)
    assert len(np.unique(draws)) == n


def test_a_random_draw_depends_on_its_id_alone():
    given = evidence(n=500)
    whole = dict(zip(given.ids, score(Random(), given), strict=True))
    order = np.random.default_rng(4).permutation(500)
    for part in np.array_split(order, 13):
        piece = given.take(part)
        np.testing.assert_array_equal(score(Random(), piece), [whole[item] for item in piece.ids])


def test_random_draws_of_other_rounds_and_seeds_are_uncorrelated():
    """|r| of n independent pairs has a standard deviation of 1/sqrt(n)."""
    n = 5000
    given = evidence(n=n)
    sources = [
        HashRng(0).child("round", 1),
        HashRng(0).child("round", 2),
        HashRng(1).child("round", 1),
        HashRng(0).child("score", 1),
    ]
    draws = [score(Random(), given, source) for source in sources]
    correlations = np.corrcoef(draws)
    np.testing.assert_array_less(np.abs(correlations - np.eye(len(sources))), 5 / math.sqrt(n))
    np.testing.assert_array_equal(draws[0], score(Random(), given, HashRng(0).child("round", 1)))


def explanations(npir, npirp):
    npir, npirp = np.asarray(npir, float), np.asarray(npirp, float)
    b = len(npir)
    return Explanations(
        segments=np.zeros((b, 2, 2), np.uint8),
        attributions=npir,
        interpretable_input=np.where(np.isnan(npir), np.nan, 1.0),
        npirp=npirp,
        explained_class=np.zeros(b, np.int64),
        probability=np.ones(b),
        per_item=True,
    )


def test_m_is_the_difference_of_the_indices_at_the_largest_npir():
    """The feature of largest nPIR decides, though another has the larger difference; NaN padding is passed over."""
    given = explanations([[0.2, 0.9, -1.0], [0.5, 0.4, np.nan]], [[-1.0, 0.3, 0.0], [-0.7, 0.9, np.nan]])
    expected = [0.9 - 0.3, 0.5 - -0.7]
    np.testing.assert_allclose(score(EbanoUncertainty(), evidence(explanations=given)), expected, rtol=1e-12)


def test_m_against_a_plain_loop():
    generator = np.random.default_rng(5)
    npir, npirp = generator.uniform(-1, 1, (2, 40, 6))
    for row in range(40):
        npir[row, 2 + row % 5 :] = npirp[row, 2 + row % 5 :] = np.nan
    expected = []
    for one, other in zip(npir, npirp, strict=True):
        best = max((f for f in range(6) if not math.isnan(one[f])), key=lambda f, one=one: one[f])
        expected.append(one[best] - other[best])
    scores = score(EbanoUncertainty(), evidence(explanations=explanations(npir, npirp)))
    np.testing.assert_allclose(scores, expected, rtol=1e-12)
    assert (np.abs(scores) <= 2).all()


def test_without_explanations_the_recipe_is_told_what_is_missing():
    with pytest.raises(XalError, match="explainer"):
        score(EbanoUncertainty(), evidence(probabilities(0)))


def scored(*scores):
    return Scored(ids=ids_of(len(scores)), rows=np.arange(len(scores)), scores=np.array(scores, float))


def test_an_item_at_the_threshold_is_not_queried():
    chosen = EbanoUncertainty(threshold=0.5).select(scored(0.5, 0.75, np.nextafter(0.5, 1), -2, 0.25), 5)
    assert chosen.ids.tolist() == ["item-1", "item-2"]


@pytest.mark.parametrize(("limit", "budget"), [(None, 3), (2, 3), (3, 2), (9, 3), (1, 1)])
def test_limit_and_budget_bound_the_choice(limit, budget):
    strategy = EbanoUncertainty(threshold=-2, limit=limit)
    expected = budget if limit is None else min(limit, budget)
    assert strategy.shortlist(budget) == expected
    chosen = strategy.select(scored(0.1, 0.9, 0.3, 0.8, 0.2), budget)
    assert chosen.ids.tolist() == ["item-1", "item-3", "item-2"][:expected]


def test_a_shortlist_is_enough_for_select():
    """Shards send only the best `shortlist` items: the choice must be that from all items."""
    all_items = scored(*np.random.default_rng(6).uniform(-2, 2, 200))
    strategy = EbanoUncertainty(threshold=1.2, limit=30)
    from_all = strategy.select(all_items, 50)
    from_shortlist = strategy.select(all_items.top(strategy.shortlist(50)), 50)
    assert 0 < len(from_all) == min(30, int((all_items.scores > 1.2).sum()))
    assert from_shortlist.ids.tolist() == from_all.ids.tolist()


def test_ebano_explains_a_random_subset_and_fills_by_entropy():
    strategy = EbanoUncertainty(candidates=17)
    assert strategy.survivors(5) == 17
    assert EbanoUncertainty(candidates=None).survivors(5) is None
    assert strategy.fallback() == Entropy()
    assert EbanoUncertainty(fallback=Random()).fallback() == Random()
    given = evidence(n=100)
    np.testing.assert_array_equal(strategy.prefilter(given, RNG), score(Random(), given))
    assert not strategy.prefilter_needs


def first_half(rounds):
    """The longer half where the number is odd."""
    return math.ceil(rounds / 2)


@pytest.mark.parametrize("rounds", [1, 2, 3, 4, 5, 10, 11])
def test_early_and_late_mix_switch_after_the_first_half(rounds):
    early = [EarlyMix().at(r, rounds).name for r in range(1, rounds + 1)]
    late = [LateMix().at(r, rounds).name for r in range(1, rounds + 1)]
    head, tail = first_half(rounds), rounds - first_half(rounds)
    assert early == ["ebano_uncertainty"] * head + ["entropy"] * tail
    assert late == ["entropy"] * head + ["ebano_uncertainty"] * tail


def test_mixes_run_the_strategies_that_they_were_given():
    one, other = EbanoUncertainty(threshold=0.1), Margin()
    assert [EarlyMix(strategy=one, other=other).at(r, 2) for r in (1, 2)] == [one, other]
    assert [LateMix(strategy=one, other=other).at(r, 2) for r in (1, 2)] == [other, one]


@pytest.mark.parametrize("rounds", [1, 2, 3, 7, 12])
@pytest.mark.parametrize("m", [1, 2, 3, 5])
def test_a_schedule_shares_out_the_rounds_evenly_and_in_order(m, rounds):
    strategies = tuple(EbanoUncertainty(threshold=i / 10) for i in range(m))
    schedule = Schedule(strategies=strategies)
    places = [strategies.index(schedule.at(r, rounds)) for r in range(1, rounds + 1)]
    assert places[0] == 0 and places == sorted(places)
    shares = [places.count(i) for i in range(m)]
    assert max(shares) - min(shares) <= 1


def test_schedules_nest():
    schedule = Schedule(strategies=(Random(), EarlyMix(strategy=Margin(), other=Entropy())))
    # rounds 1-2 of 4 are random; 3 and 4 lie in the second half of the campaign, so the mix runs its second
    assert [schedule.at(r, 4).name for r in range(1, 5)] == ["random", "random", "entropy", "entropy"]


def test_an_empty_schedule_is_refused():
    with pytest.raises(XalError, match="at least one"):
        Schedule(strategies=())


@pytest.mark.parametrize("name", ["early_mix", "late_mix"])
def test_a_schedule_itself_does_not_score(name):
    with pytest.raises(TypeError, match="at"):
        score(Strategy.named(name)(), evidence(probabilities(0)))
