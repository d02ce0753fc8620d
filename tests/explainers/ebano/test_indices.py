"""nPIR and nPIRP against the scalar formulas of the paper, and their limits with every warning an error."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xal.errors import NumericalError
from xal.explainers.ebano.indices import indices, relation

PROBABILITY = st.floats(0, 1)
SMALLEST = 5e-324


def of(x: float, y: float) -> float:
    """The relation of two numbers."""
    return float(relation(torch.tensor(x, dtype=torch.float64), torch.tensor(y, dtype=torch.float64)))


def plain_npir(o: float, t: float) -> float:
    """The definition, for o, t > 0: a = 1 - o/t, b = 1 - t/o, PIR = t b - o a, softsign."""
    pir = t * (1 - t / o) - o * (1 - o / t)
    return pir / (1 + abs(pir))


def test_relation_is_the_definition() -> None:
    values = np.random.default_rng(0).uniform(1e-3, 1, (500, 2))
    expected = [plain_npir(o, t) for o, t in values.tolist()]
    np.testing.assert_allclose(relation(*torch.from_numpy(values).T), expected, rtol=1e-10, atol=1e-14)


def test_example_of_the_method() -> None:
    assert of(0.9, 0.1) == pytest.approx(0.879, abs=5e-4)  # .7289 / .0900 = 7.289


@pytest.mark.parametrize(
    ("o", "t", "expected"),
    [
        (0.5, 0.0, 1.0),
        (SMALLEST, 0.0, 1.0),
        (1.0, SMALLEST, 1.0),
        (0.0, 0.5, -1.0),
        (0.0, SMALLEST, -1.0),
        (SMALLEST, 1.0, -1.0),
        (0.0, 0.0, 0.0),
        (SMALLEST, SMALLEST, 0.0),
        (1.0, 1.0, 0.0),
        (0.3, 0.3, 0.0),
    ],
)
def test_limits(o: float, t: float, expected: float) -> None:
    assert of(o, t) == expected


@given(PROBABILITY, PROBABILITY)
def test_range_sign_and_antisymmetry(o: float, t: float) -> None:
    value = of(o, t)
    assert -1 <= value <= 1
    assert value == -of(t, o)
    if o > t * (1 + 1e-9) + 1e-100:
        assert value > 0
    if o == t:
        assert value == 0


@given(PROBABILITY, PROBABILITY, PROBABILITY)
def test_a_lower_probability_after_the_blur_never_lowers_npir(o: float, t: float, other: float) -> None:
    low, high = sorted((t, other))
    assert of(o, low) >= of(o, high) - 1e-12


@pytest.mark.parametrize("other_classes", ["absolute", "positive"])
def test_indices_are_a_plain_loop(other_classes: str) -> None:
    rng = np.random.default_rng(1)
    images, features, classes = 4, 3, 6
    o = rng.dirichlet(np.ones(classes), images).astype(np.float32)
    t = rng.dirichlet(np.ones(classes), (images, features)).astype(np.float32)
    ci = np.array([0, 5, 2, 3])
    got = indices(*map(torch.from_numpy, (o, t, ci)), other_classes)  # type: ignore[arg-type]
    for i in range(images):
        for f in range(features):
            w = [float(o[i, c]) * plain_npir(float(o[i, c]), float(t[i, f, c])) for c in range(classes)]
            rest = [w[c] for c in range(classes) if c != ci[i]]
            b = sum(map(abs, rest)) if other_classes == "absolute" else sum(max(0.0, x) for x in rest)
            assert got.npir[i, f] == pytest.approx(plain_npir(float(o[i, ci[i]]), float(t[i, f, ci[i]])), rel=1e-9)
            assert got.npirp[i, f] == pytest.approx(plain_npir(abs(w[ci[i]]), b), rel=1e-9)


def test_the_variants_differ() -> None:
    o, t = torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([[[0.2, 0.6, 0.2]]])
    ci = torch.tensor([0])
    assert indices(o, t, ci, "absolute").npirp < indices(o, t, ci, "positive").npirp


def test_limits_of_npirp() -> None:
    o = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    t = torch.tensor([[[0.5, 0.0]], [[0.0, 0.5]], [[0.5, 0.5]]])
    got = indices(o, t, torch.tensor([0, 0, 0]))
    assert got.npirp[:, 0].tolist() == [1.0, -1.0, 0.0]
    assert got.npir[1, 0] == 0.0 and got.npir[2, 0] == 0.0
    assert got.npir.dtype == got.npirp.dtype == torch.float64


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.5, 7.0])
def test_what_is_no_probability_is_counted(bad: float) -> None:
    t = torch.full((1, 2, 2), 0.5)
    t[0, 1, 0] = bad
    with pytest.raises(NumericalError, match="1 of 4 perturbed"):
        indices(torch.full((1, 2), 0.5), t, torch.tensor([0]))
