"""Stopping rules on histories that are made up."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from xal.evaluation.stopping.flat_curve import FlatCurve
from xal.evaluation.stopping.overall_uncertainty import OverallUncertainty
from xal.evaluation.stopping.rule import Observed, StoppingRule, kappa, uncertainty
from xal.evaluation.stopping.stabilized_predictions import StabilizedPredictions


def history(**values: list[float | None]) -> list[Observed]:
    n = max(map(len, values.values()))
    nothing: list[float | None] = [None] * n
    return [
        Observed(
            round=round,
            accuracy=values.get("accuracy", nothing)[round],
            agreement=values.get("agreement", nothing)[round],
            uncertainty=values.get("uncertainty", nothing)[round],
        )
        for round in range(n)
    ]


def test_stabilized_predictions_needs_rounds_in_a_row() -> None:
    seen = history(agreement=[None, 0.995, 0.98, 0.99, 0.992, 0.999, 0.9])
    assert StabilizedPredictions().since(seen) == 5
    assert StabilizedPredictions(rounds=1).since(seen) == 1
    assert StabilizedPredictions(agreement=0.9995).since(seen) is None


def test_overall_uncertainty() -> None:
    assert OverallUncertainty().since(history(uncertainty=[0.5, None, 0.06, 0.04])) == 3
    assert OverallUncertainty(below=0.01).since(history(uncertainty=[0.5, 0.06])) is None


def test_flat_curve() -> None:
    rising = [0.5, 0.6, 0.7, 0.75, 0.751, 0.752, 0.749, 0.75, 0.753]
    assert FlatCurve().since(history(accuracy=rising)) == 8
    assert FlatCurve(rounds=2).since(history(accuracy=rising)) == 5
    assert FlatCurve().since(history(accuracy=rising[:5])) is None


@pytest.mark.parametrize("rule", [kind() for kind in StoppingRule.registry.values()])
def test_nothing_measured_never_stops(rule: StoppingRule) -> None:
    assert rule.since([]) is None
    assert rule.since(history(accuracy=[None] * 9)) is None


@pytest.mark.parametrize("seed", range(5))
def test_kappa_is_cohens(seed: int) -> None:
    generator = np.random.default_rng(seed)
    one = generator.integers(0, 4, 200)
    other = np.where(generator.random(200) < 0.7, one, generator.integers(0, 4, 200))
    assert kappa(one, other) == pytest.approx(cohen_kappa_score(one, other))
    assert kappa(one, one) == pytest.approx(1)
    assert kappa(np.zeros(5, int), np.zeros(5, int)) == 1  # where chance agrees, too


def test_uncertainty_is_a_share() -> None:
    assert uncertainty(np.full((3, 4), 0.25)) == pytest.approx(1)
    assert uncertainty(np.eye(4)) == 0
