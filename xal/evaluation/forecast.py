"""What more labels would bring: a power law fitted to the learning curve so far, with an interval.

accuracy(n) = a - b n^-c, fitted by least squares, with a at most 1 and b at least 0 (C. Cortes and others 1994). The
interval is of the accuracy that will be measured, by a bootstrap over rounds that also draws the noise of a single
measurement: the larger of the spread around the curve and of the binomial error of the test items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
EXPONENTS = np.geomspace(0.1, 2.0, 25)  # c
DRAWS = 400
FEWEST = 5  # rounds with a model, before which nothing is said


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The change of accuracy by `labels` more labels, as shares of 1."""

    labels: int
    gain: float
    low: float
    """Lower end of the 95% interval."""
    high: float
    """Upper end of it."""

    def __str__(self) -> str:
        """Such as "100 more labels: +0.8 points (-0.2 to 1.5)"."""
        return (
            f"{self.labels} more labels: {100 * self.gain:+.1f} points ({100 * self.low:.1f} to {100 * self.high:.1f})"
        )


def forecast(labels: Sequence[int], accuracy: Sequence[float], more: int, n_test: int) -> Forecast | None:
    """The forecast after the last of these rounds; None for fewer than 5 rounds, or labels that do not grow.

    labels: spent by round. accuracy: in [0, 1]. more: labels from now. n_test: items that accuracy was measured on.
    """
    n, y = np.asarray(labels, np.float64), np.asarray(accuracy, np.float64)
    n, y = n[n > 0], y[n > 0]
    if len(n) < FEWEST or len(np.unique(n)) < FEWEST or more < 1:
        return None
    then = n[-1] + more
    fitted = _fit(n, y[None])
    gain = float(_value(fitted, then)[0] - _value(fitted, n[-1])[0])
    binomial = np.sqrt(max(y[-1] * (1 - y[-1]), 1e-6) / max(n_test, 1))
    noise = max(float(np.sqrt(((y - _value(fitted, n)[0]) ** 2).sum() / max(len(n) - 3, 1))), float(binomial))
    generator = np.random.default_rng(0)
    drawn = _value(fitted, n) + noise * generator.standard_normal((DRAWS, len(n)))
    refitted = _fit(n, drawn)
    change = _value(refitted, then) - _value(refitted, n[-1]) + np.sqrt(2) * noise * generator.standard_normal(DRAWS)
    low, high = np.quantile(change, [0.025, 0.975])
    return Forecast(labels=more, gain=gain, low=float(low), high=float(high))


def _fit(n: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """((s,) a, (s,) b, (s,) c) of each row of y (s, rounds), by least squares over a grid of c."""
    best = np.full(len(y), np.inf)
    a, b, c = np.ones(len(y)), np.zeros(len(y)), np.full(len(y), EXPONENTS[0])
    for exponent in EXPONENTS:
        x = n**-exponent
        centred = x - x.mean()
        slope = np.minimum((y @ centred) / (centred @ centred), 0)  # -b
        top = y.mean(axis=1) - slope * x.mean()
        over = top > 1  # then the best line through (0, 1)
        slope = np.where(over, np.minimum((y - 1) @ x / (x @ x), 0), slope)
        top = np.where(over, 1.0, top)
        error = ((y - top[:, None] - slope[:, None] * x) ** 2).sum(axis=1)
        better = error < best
        best = np.where(better, error, best)
        a, b, c = np.where(better, top, a), np.where(better, -slope, b), np.where(better, exponent, c)
    return a, b, c


def _value(fitted: tuple[Floats, Floats, Floats], n: float | Floats) -> Floats:
    """(s,) or (s, rounds) a - b n^-c."""
    a, b, c = fitted
    if isinstance(n, np.ndarray):
        return np.asarray(a[:, None] - b[:, None] * n ** -c[:, None])
    return np.asarray(a - b * n**-c)
