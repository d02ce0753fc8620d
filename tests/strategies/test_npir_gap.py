"""m(x) against a plain loop over items and features."""

import math

import numpy as np
import pytest

from xal.core.rng import HashRng
from xal.errors import XalError
from xal.strategies.npir_gap import NpirGap
from xal.types import Evidence, Explanations


def explained(npir: object, npirp: object) -> Evidence:
    npir, npirp = np.asarray(npir, float), np.asarray(npirp, float)
    b = len(npir)
    explanations = Explanations(
        feature_kind="segments",
        segments=np.zeros((b, 2, 2), np.uint8),
        attributions=npir,
        interpretable_input=np.where(np.isnan(npir), np.nan, 1.0),
        npirp=npirp,
        explained_class=np.zeros(b, np.int64),
        probability=np.ones(b),
        per_item=True,
    )
    ids = np.array([f"item-{i}" for i in range(b)], object)
    return Evidence(ids=ids, rows=np.arange(b), explanations=explanations)


def test_m_is_the_difference_of_the_indices_at_the_largest_npir() -> None:
    """The feature of largest nPIR decides, though another has the larger difference; NaN padding is passed over."""
    given = explained([[0.2, 0.9, -1.0], [0.5, 0.4, np.nan]], [[-1.0, 0.3, 0.0], [-0.7, 0.9, np.nan]])
    expected = [0.9 - 0.3, 0.5 - -0.7]
    np.testing.assert_allclose(NpirGap().score(given, None, HashRng(0)), expected, rtol=1e-12)


def test_m_against_a_plain_loop() -> None:
    generator = np.random.default_rng(5)
    npir, npirp = generator.uniform(-1, 1, (2, 40, 6))
    for row in range(40):
        npir[row, 2 + row % 5 :] = npirp[row, 2 + row % 5 :] = np.nan
    expected = []
    for one, other in zip(npir, npirp, strict=True):
        best = max((f for f in range(6) if not math.isnan(one[f])), key=lambda f, one=one: one[f])
        expected.append(one[best] - other[best])
    scores = NpirGap().score(explained(npir, npirp), None, HashRng(0))
    np.testing.assert_allclose(scores, expected, rtol=1e-12)
    assert (np.abs(scores) <= 2).all()


def test_without_explanations_the_recipe_is_told_what_is_missing() -> None:
    with pytest.raises(XalError, match="explainer"):
        NpirGap().score(Evidence(ids=np.array(["a"], object), rows=np.arange(1)), None, HashRng(0))
