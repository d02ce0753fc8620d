"""LIME's ridge against scikit-learn's."""

import numpy as np
import pytest

from xal.explainers.lime import coalitions, ridge


def test_ridge_is_scikit_learns() -> None:
    from sklearn.linear_model import Ridge

    generator = np.random.default_rng(0)
    masks = np.stack([np.pad(coalitions(m, 60, generator, False), ((0, 0), (0, 7 - m))) for m in (7, 4)])
    y, weights = generator.normal(size=(2, 60)), generator.uniform(0.1, 1, (2, 60))
    found, intercepts = ridge(masks, y, weights, np.array([7, 4]), 0.5)
    for i, m in enumerate((7, 4)):
        theirs = Ridge(alpha=0.5).fit(masks[i, :, :m], y[i], weights[i])
        np.testing.assert_allclose(found[i, :m], theirs.coef_, atol=1e-9)
        assert intercepts[i] == pytest.approx(theirs.intercept_) and not found[i, m:].any()


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_fewer_samples_than_words_give_the_same_ridge(alpha: float) -> None:
    """Against scikit-learn's, an item at a time; the second item has fewer words."""
    from sklearn.linear_model import Ridge

    generator = np.random.default_rng(0)
    players = np.array([60, 40])
    masks = generator.random((2, 30, 60)) < 0.5
    masks &= np.arange(60) < players[:, None, None]
    y, weights = generator.normal(size=(2, 30)), generator.random((2, 30))
    found, intercepts = ridge(masks, y, weights, players, alpha)
    for i in range(2):
        expected = Ridge(alpha=alpha).fit(masks[i], y[i], weights[i])
        np.testing.assert_allclose(found[i], expected.coef_, atol=1e-10)
        np.testing.assert_allclose(intercepts[i], expected.intercept_, atol=1e-10)
