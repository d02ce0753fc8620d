"""What is private in scikit-learn and shap still computes what we take it for."""

import numpy as np
import pytest
from scipy.optimize import minimize

from xal.core import private


@pytest.mark.parametrize("seed", [0, 1])
def test_platt_sigmoid_is_platts_own(seed: int) -> None:
    """Platt 1999: least cross-entropy to the targets (N+ + 1) / (N+ + 2) and 1 / (N- + 2), by Nelder-Mead."""
    generator = np.random.default_rng(seed)
    positive = generator.random(80) < 0.3
    outputs = generator.normal(size=80) + 1.5 * positive
    n = int(positive.sum())
    targets = np.where(positive, (n + 1) / (n + 2), 1 / (80 - n + 2))

    def loss(parameters: np.ndarray) -> float:
        z = parameters[0] * outputs + parameters[1]  # p = 1 / (1 + exp(z))
        return float((targets * np.logaddexp(0, z) + (1 - targets) * np.logaddexp(0, -z)).sum())

    expected = minimize(loss, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).x
    found = private.platt_sigmoid(outputs, positive)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert all(type(value) is float for value in found) and found[0] < 0


def test_shap_text_tree_by_hand() -> None:
    """shap 0.51's rules: a merge costs its tokens, 2 at a connector, 10 after a comma, 1 before one."""
    found = private.shap_text_tree(["good", "film", ",", "but", "bad", "plot"])
    expected = [
        [0, 1, 10 + 2, 2],  # good film
        [4, 5, 10 + 2, 2],  # bad plot
        [6, 2, 10 + 1 + 3, 3],  # (good film) ,
        [3, 7, 10 + 2 + 3, 3],  # but (bad plot)
        [8, 9, 10 + 10 + 2 + 6, 6],
    ]
    np.testing.assert_array_equal(found, expected)
