"""What more labels would bring: a power law fitted to the learning curve so far, with an interval.

accuracy(n) = a - b n^-c, with a at most 1 and b at least 0 (C. Cortes and others 1994), fitted by least squares with
weights n: a round's deviation from the curve has a variance of about 1 / n. The interval is of the accuracy that will
be measured: a bootstrap that draws the deviations of all rounds, of the last one and of the one to come. They are at
least half the binomial error of the test items, of which the rounds share the other half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
EXPONENTS = np.geomspace(0.1, 2.0, 25)  # c
DRAWS = 400
AHEAD = 100  # labels that forecasts look ahead, in whole rounds
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
    least = 0.5 * np.sqrt(max(y[-1] * (1 - y[-1]), 1e-6) / max(n_test, 1))
    spread = np.sqrt((n * (y - _value(fitted, n)[0]) ** 2).sum() / max(len(n) - 3, 1))  # for one label
    generator = np.random.default_rng(0)
    freedom = max(len(n) - 3, 1)
    spreads = spread * np.sqrt(freedom / generator.chisquare(freedom, DRAWS))[:, None]  # as the rounds are few
    noise = np.maximum(spreads / np.sqrt(np.append(n, then)), least) * generator.standard_normal((DRAWS, len(n) + 1))
    refitted = _fit(n, _value(fitted, n) + noise[:, :-1])
    change = _value(refitted, then) - _value(refitted, n[-1]) + noise[:, -1]
    change += np.maximum(spreads[:, 0] / np.sqrt(n[-1]), least) * generator.standard_normal(DRAWS)
    low, high = np.clip(np.quantile(change, [0.025, 0.975]), -y[-1], 1 - y[-1])  # no accuracy above 1 or below 0
    return Forecast(labels=more, gain=gain, low=float(low), high=float(high))


def _fit(n: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """((s,) a, (s,) b, (s,) c) of each row of y (s, rounds), by weighted least squares over a grid of c."""
    weights = n / n.sum()
    best = np.full(len(y), np.inf)
    a, b, c = np.ones(len(y)), np.zeros(len(y)), np.full(len(y), EXPONENTS[0])
    for exponent in EXPONENTS:
        x = n**-exponent
        centred = x - weights @ x
        slope = np.minimum((y @ (weights * centred)) / (weights @ centred**2), 0)  # -b
        top = y @ weights - slope * (weights @ x)
        over = top > 1  # then the best line through (0, 1)
        slope = np.where(over, np.minimum((y - 1) @ (weights * x) / (weights @ x**2), 0), slope)
        top = np.where(over, 1.0, top)
        error = ((y - top[:, None] - slope[:, None] * x) ** 2) @ weights
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
