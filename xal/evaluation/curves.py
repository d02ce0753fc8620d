"""Learning curves over seeds: mean, 95% interval, area, and paired differences.

Intervals are Student's t intervals over s seeds, mean +- t(.975, s - 1) * sd / sqrt(s); one seed gives no interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

Curve = tuple[list[int], list[float]]
"""(labels spent, metric), one value per round each."""
Curves = Mapping[str, Mapping[int, Curve]]
"""Curves by arm and seed."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean and half the width of its 95% interval, which is NaN for a single seed."""

    mean: float
    half: float

    def __str__(self) -> str:
        return f"{self.mean:.4f}" if np.isnan(self.half) else f"{self.mean:.4f} ± {self.half:.4f}"

    def signed(self) -> str:
        """As text with a plus or minus sign, for differences."""
        return f"{self.mean:+.4f}" if np.isnan(self.half) else f"{self.mean:+.4f} ± {self.half:.4f}"


def interval(values: npt.ArrayLike) -> Interval:
    """Mean and 95% interval of (s,) values, one per seed."""
    array = np.asarray(values, np.float64)
    if len(array) < 2:
        return Interval(mean=float(array.mean()), half=float("nan"))
    half = student.ppf(0.975, len(array) - 1) * array.std(ddof=1) / np.sqrt(len(array))
    return Interval(mean=float(array.mean()), half=float(half))


def area(labels: npt.ArrayLike, values: npt.ArrayLike) -> float:
    """Area under a learning curve (trapezoids) divided by its width: the mean value over the labels spent."""
    x, y = np.asarray(labels, np.float64), np.asarray(values, np.float64)
    return float(y.mean()) if len(x) < 2 else float(np.trapezoid(y, x) / (x[-1] - x[0]))


def paired(one: npt.ArrayLike, other: npt.ArrayLike) -> Interval:
    """Interval of the differences one - other, paired by seed."""
    return interval(np.asarray(one, np.float64) - np.asarray(other, np.float64))


def comparison(curves: Curves, baseline: str = "random") -> dict[str, Any]:
    """A table of the arms as text: {"labels": labels spent by round, "rows": one mapping per arm}.

    Each row has the metric by round (cells), the area under its curve, and, compared with the arm `baseline` and paired
    by seed, the difference of areas and the share of rounds below the baseline.
    """
    labels = max((spent for by_seed in curves.values() for spent, _ in by_seed.values()), key=len, default=[])
    rows = []
    for arm, by_seed in curves.items():
        measured = [curve for _, curve in by_seed.values()]
        by_round = [[curve[i] for curve in measured if len(curve) > i] for i in range(len(labels))]
        base = curves.get(baseline, {})
        pairs = [(by_seed[seed], base[seed]) for seed in sorted(by_seed.keys() & base.keys()) if arm != baseline]
        difference, below = "", ""
        if pairs:
            difference = paired([area(*one) for one, _ in pairs], [area(*other) for _, other in pairs]).signed()
            under = [x < y for one, other in pairs for x, y in zip(one[1][1:], other[1][1:], strict=False)]
            below = f"{np.mean(under):.0%}" if under else ""
        rows.append(
            {
                "arm": arm,
                "cells": [str(interval(values)) if values else "" for values in by_round],
                "area": str(interval([area(*curve) for curve in by_seed.values()])) if measured else "",
                "difference": difference,
                "below": below,
                "seeds": len(by_seed),
            }
        )
    return {"labels": labels, "rows": rows}
