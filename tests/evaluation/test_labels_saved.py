"""Labels saved against another strategy."""

import math

import pytest

from xal.evaluation.curves import Interval
from xal.evaluation.labels_saved import in_words, labels_saved, saved_against

LABELS = [10, 20, 30, 40, 50]
SLOW = (LABELS, [0.1, 0.2, 0.3, 0.4, 0.5])
FAST = (LABELS, [0.1, 0.5, 0.6, 0.65, 0.7])


def test_labels_needed_for_the_last_accuracy_of_the_other() -> None:
    found = labels_saved({0: FAST}, {0: SLOW})
    assert found is not None and found.mean == pytest.approx(30) and math.isnan(found.half)
    worse = labels_saved({0: SLOW}, {0: FAST})
    assert worse is not None and worse.mean == pytest.approx(-30)
    between = labels_saved({0: (LABELS, [0.1, 0.4, 0.6, 0.65, 0.7])}, {0: SLOW})
    assert between is not None and between.mean == pytest.approx(25)  # half way from 20 to 30


def test_noise_is_made_monotone_and_seeds_are_paired() -> None:
    bumpy = (LABELS, [0.1, 0.9, 0.0, 0.6, 0.7])  # the lucky round does not count as reached
    found = labels_saved({0: bumpy}, {0: SLOW})
    assert found is not None and found.mean == pytest.approx(50 - 100 / 3)
    assert labels_saved({0: FAST}, {1: SLOW}) is None
    same = labels_saved({0: SLOW, 1: SLOW}, {0: SLOW, 1: SLOW})
    assert same == Interval(mean=0.0, half=0.0)


def test_in_words() -> None:
    assert in_words(Interval(mean=30.2, half=10.1)) == "30 (20 to 40)"
    assert in_words(Interval(mean=5.0, half=10.0)) == "not told apart"
    assert in_words(Interval(mean=30.0, half=float("nan"))) == "30 (one seed)"
    assert in_words(None) == ""


def test_of_all_arms() -> None:
    curves = {"fast": {0: FAST, 1: FAST}, "random": {0: SLOW, 1: SLOW}}
    assert saved_against(curves) == {"fast": "30 (30 to 30)"}
    assert saved_against({"fast": {0: FAST}}) == {}
    assert saved_against({"one": {0: ([10], [0.5])}, "random": {0: ([10], [0.5])}}) == {}
