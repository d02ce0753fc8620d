"""Intervals and areas against scipy.stats and closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from xal.evaluation.curves import Interval, area, comparison, interval, paired

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=10).filter(lambda values: np.std(values) > 1e-6)


@given(VALUES)
def test_interval_is_that_of_scipy(values):
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    found = interval(values)
    np.testing.assert_allclose([found.mean - found.half, found.mean + found.half], [low, high], rtol=1e-9, atol=1e-9)


def test_interval_by_hand():
    """Of 1, 2, 3: mean 2, sd 1; the t quantile of 2 degrees of freedom is (2p - 1) sqrt(2 / (4p (1 - p)))."""
    p = 0.975
    quantile = (2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p)))
    found = interval([1, 2, 3])
    assert found.mean == 2
    assert found.half == pytest.approx(quantile / math.sqrt(3), rel=1e-9)


def test_one_seed_has_a_mean_and_no_interval():
    found = interval([0.5])
    assert found.mean == 0.5 and math.isnan(found.half)


def test_interval_covers_the_mean_as_often_as_it_says():
    """2,000 samples of four normal values: 95%, within four binomial standard errors."""
    generator = np.random.default_rng(0)
    found = [interval(generator.normal(3, 2, 4)) for _ in range(2000)]
    share = np.mean([abs(one.mean - 3) <= one.half for one in found])
    assert abs(share - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 2000)


def test_intervals_as_text():
    assert str(Interval(mean=0.5, half=0.25)) == "0.5000 ± 0.2500"
    assert str(Interval(mean=0.5, half=math.nan)) == "0.5000"
    assert Interval(mean=0.5, half=0.25).signed() == "+0.5000 ± 0.2500"
    assert Interval(mean=-0.5, half=math.nan).signed() == "-0.5000"


def test_area_of_a_constant_and_of_a_line():
    """A mean value: the constant itself, and the value of a line in the middle, however the labels are spaced."""
    labels = np.array([100, 150, 400, 1000])
    assert area(labels, np.full(4, 0.7)) == pytest.approx(0.7)
    assert area(labels, 3 * labels + 1) == pytest.approx(3 * (100 + 1000) / 2 + 1)


def test_area_of_a_parabola():
    """The mean of x^2 on [0, 1] is 1/3; n trapezoids overshoot by 1 / (6 n^2)."""
    x = np.linspace(0, 1, 11)
    assert area(x, x**2) == pytest.approx(1 / 3 + 1 / (6 * 10**2))


def test_area_weighs_by_labels_not_by_rounds():
    """Two trapezoids by hand: (0 + 1)/2 over 1 label and 1 over 9 labels, divided by 10."""
    assert area([0, 1, 10], [0, 1, 1]) == pytest.approx((0.5 * 1 + 1 * 9) / 10)


def test_area_of_a_single_round_is_its_value():
    assert area([100], [0.25]) == 0.25


@given(VALUES, st.integers(0, 2**32 - 1))
def test_paired_agrees_with_the_paired_t_test(values, seed):
    """Zero lies on the edge of the interval where scipy's paired test has p = .05, so the t statistics agree."""
    one = np.array(values)
    other = one + np.random.default_rng(seed).normal(0.3, 1, len(one))
    found = paired(one, other)
    low, high = stats.ttest_rel(one, other).confidence_interval(0.95)
    np.testing.assert_allclose([found.mean - found.half, found.mean + found.half], [low, high], rtol=1e-6, atol=1e-6)


def test_paired_takes_out_what_seeds_share():
    """A constant difference has no spread, however far the seeds lie apart."""
    found = paired([0.9, 0.5, 0.1], [0.8, 0.4, 0.0])
    assert found.mean == pytest.approx(0.1) and found.half == pytest.approx(0, abs=1e-12)


def test_comparison_by_hand():
    """Areas, paired differences, and the share of rounds after the first, over seeds, in which an arm is below."""
    labels = [10, 20, 30, 40]
    curves = {
        "random": {0: (labels, [0.1, 0.4, 0.5, 0.6]), 1: (labels, [0.2, 0.4, 0.6, 0.8]), 2: (labels, [0.5] * 4)},
        "one": {0: (labels, [0.0, 0.3, 0.5, 0.7]), 1: (labels, [0.0, 0.3, 0.5, 0.8]), 3: (labels, [0.0] * 4)},
        "short": {0: (labels[:2], [0.1, 0.3])},
        "none": {},
    }
    found = {row["arm"]: row for row in comparison(curves)["rows"]}
    assert comparison(curves)["labels"] == labels
    assert found["random"]["below"] == found["random"]["difference"] == found["none"]["below"] == ""
    assert found["one"]["below"] == "50%"  # of 2 x 3 rounds: below at 20 of both, at 30 of one; equal is not below
    assert found["short"]["below"] == "100%" and found["short"]["cells"][2:] == ["", ""]
    gained = [((0.0 + 0.7) / 2 + 0.8) / 3 - ((0.1 + 0.6) / 2 + 0.9) / 3, (0.4 + 0.8) / 3 - (0.5 + 1.0) / 3]
    assert found["one"]["difference"] == interval(gained).signed() and found["one"]["seeds"] == 3
    assert found["one"]["cells"][1] == str(interval([0.3, 0.3, 0.0]))
    against_one = {row["arm"]: row["below"] for row in comparison(curves, "one")["rows"]}
    assert against_one["random"] == "17%" and against_one["one"] == ""  # only at 40 of seed 0
