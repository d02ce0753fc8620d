"""Gradients of a linear network, whose attributions have a closed form, and errors."""

import numpy as np
import pytest
import torch

from tests.explainers.trained import trained
from xal.errors import XalError
from xal.explainers.gradients import GradientShap, IntegratedGradients
from xal.models.sklearn.logistic_regression import LogisticRegression
from xal.models.torch.linear import Linear


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def linear(rows: np.ndarray):
    return trained(Linear(), rows, np.digitize(rows[:, 0] + rows[:, 1], [-1, 1]))


def matrix_of(classifier, width: int) -> torch.Tensor:
    """(d, c) weights of a linear network, from its outputs at the unit vectors."""
    return classifier.outputs(torch.eye(width), "margin") - classifier.outputs(torch.zeros(1, width), "margin")


def test_integrated_gradients_of_a_linear_network_are_weight_times_input(rows, linear) -> None:
    x = torch.from_numpy(rows[:10])
    target = torch.arange(10) % 3
    found = IntegratedGradients().explain(linear, x, target)
    expected = (matrix_of(linear, 4)[:, target].T * x).detach().numpy()
    np.testing.assert_allclose(found.attributions, expected, atol=1e-5)
    np.testing.assert_allclose(found.base + found.attributions.sum(axis=1), found.output, atol=1e-5)
    assert found.feature_kind == "columns"


def test_gradient_shap_of_a_linear_network_is_weight_times_distance_from_the_mean_baseline(rows, linear) -> None:
    x, baselines = torch.from_numpy(rows[:10]), torch.from_numpy(rows[20:24])
    target = torch.zeros(10, dtype=torch.int64)
    found = GradientShap(samples=8, background=4).explain(linear, x, target, baselines)  # 4 divides 8: every one twice
    expected = (matrix_of(linear, 4)[:, 0] * (x - baselines.mean(dim=0))).detach().numpy()
    np.testing.assert_allclose(found.attributions, expected, atol=1e-5)


def test_an_explanation_does_not_depend_on_its_batch(rows, linear) -> None:
    x, baselines = torch.from_numpy(rows), torch.from_numpy(rows[:1])
    together = GradientShap(output="probability").explain(linear, x, None, baselines).attributions
    alone = [GradientShap(output="probability").explain(linear, x[i : i + 1], None, baselines) for i in range(5)]
    np.testing.assert_allclose(together[:5], np.concatenate([one.attributions for one in alone]), atol=1e-6)


def test_what_has_no_gradients_is_refused(rows, linear) -> None:
    with pytest.raises(XalError, match="texts have none; use shap_partition"):
        IntegratedGradients().explain(linear, np.array(["a text"], object))
    forest = trained(LogisticRegression(), rows, rows[:, 0] > 0)
    with pytest.raises(XalError, match="gradients"):
        IntegratedGradients().explain(forest, torch.from_numpy(rows))
