"""The forecast of what more labels bring: against curves whose future is known."""

import numpy as np
import pytest

from xal.evaluation.forecast import Forecast, _fit, forecast

N = list(range(20, 320, 20))


def curve(n: np.ndarray, a: float = 0.9, b: float = 1.5, c: float = 0.5) -> np.ndarray:
    return a - b * np.asarray(n, float) ** -c


def test_a_curve_without_noise_is_continued() -> None:
    found = forecast(N, curve(N).tolist(), 100, 10**6)
    assert found is not None
    assert found.gain == pytest.approx(float(curve(400) - curve(300)), abs=0.002)
    assert found.low <= found.gain <= found.high and found.high - found.low < 0.01


def test_the_fit_is_the_least_squares_line_for_its_exponent() -> None:
    noisy = curve(N) + 0.01 * np.random.default_rng(0).standard_normal(len(N))
    (a,), (b,), (c,) = _fit(np.array(N, float), noisy[None])
    slope, top = np.polyfit(np.array(N, float) ** -c, noisy, 1, w=np.sqrt(N))
    assert (a, -b) == pytest.approx((top, slope))
    assert _fit(np.array(N, float), curve(N, a=1.4)[None])[0][0] <= 1
    assert _fit(np.array(N, float), curve(N, b=-1)[None])[1][0] == 0  # a falling curve is flat


@pytest.mark.parametrize("n_test", [200, 2000])
def test_the_interval_holds_about_as_often_as_it_says(n_test: int) -> None:
    """300 curves of rounds that share a part of the error of the test items; trained models differ less and less."""
    generator = np.random.default_rng(1)
    held = []
    for _ in range(300):
        spent = np.array([*N, 400])
        p = curve(spent, a=generator.uniform(0.7, 0.95), b=generator.uniform(0.5, 2), c=generator.uniform(0.3, 0.9))
        error = np.sqrt(p.mean() * (1 - p.mean()) / n_test)
        shared, own = error * generator.standard_normal(), 0.2 / np.sqrt(spent) * generator.standard_normal(len(spent))
        seen = p + shared + own
        found = forecast(N, seen[:-1].tolist(), 100, n_test)
        assert found is not None
        held.append(found.low <= seen[-1] - seen[-2] <= found.high)
    assert 0.92 <= np.mean(held) < 1


def test_too_little_to_go_by() -> None:
    assert forecast(N[:4], curve(N[:4]).tolist(), 100, 100) is None
    assert forecast([50] * 9, [0.5] * 9, 100, 100) is None
    assert forecast([], [], 100, 100) is None
    assert forecast(N, curve(N).tolist(), 0, 100) is None


def test_in_words() -> None:
    assert str(Forecast(labels=100, gain=0.008, low=-0.002, high=0.015)) == (
        "100 more labels: +0.8 points (-0.2 to 1.5)"
    )


def test_no_accuracy_above_one() -> None:
    found = forecast(N[:5], [0.2, 0.6, 0.5, 0.8, 0.87], 100, 100)
    assert found is not None and found.high <= 0.13 + 1e-9 and found.low >= -0.87
