"""How many labels a strategy saves against another, on the same seeds.

Where the strategy ends higher, the labels that it needs for the other's last accuracy are subtracted from all labels;
where it ends lower, the same the other way round, with a minus. Curves are made monotone first (isotonic regression).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import isotonic_regression

from xal.evaluation.curves import Curve, Curves, Interval, interval


def labels_saved(one: Mapping[int, Curve], other: Mapping[int, Curve]) -> Interval | None:
    """Labels saved by `one` against `other`, by seed; negative if it costs more. None if they share no seed.

    Each curve is (labels spent, accuracy), one value a round.
    """
    values = [_saved(one[seed], other[seed]) for seed in sorted(one.keys() & other.keys())]
    return interval(values) if values else None


def in_words(saved: Interval | None) -> str:
    """Such as "96 (71 to 121)" or "not told apart"."""
    if saved is None:
        return ""
    if np.isnan(saved.half):
        return f"{saved.mean:.0f} (one seed)"
    low, high = saved.mean - saved.half, saved.mean + saved.half
    return "not told apart" if low <= 0 <= high else f"{saved.mean:.0f} ({low:.0f} to {high:.0f})"


def saved_against(curves: Curves, baseline: str = "random") -> dict[str, str]:
    """Labels that each other arm saves against the baseline, in words; {} without the baseline or with one round."""
    base = curves.get(baseline, {})
    if not any(len(spent) > 1 for spent, _ in base.values()):
        return {}
    return {arm: in_words(labels_saved(by_seed, base)) for arm, by_seed in curves.items() if arm != baseline}


def _saved(one: Curve, other: Curve) -> float:
    rounds = min(len(one[0]), len(other[0]))
    ours, theirs = (isotonic_regression(np.asarray(curve[1][:rounds])).x for curve in (one, other))
    if ours[-1] >= theirs[-1]:
        return float(one[0][rounds - 1] - _needed(one[0][:rounds], ours, theirs[-1]))
    return -float(other[0][rounds - 1] - _needed(other[0][:rounds], theirs, ours[-1]))


def _needed(labels: list[int], accuracy: np.ndarray, target: float) -> float:
    """Labels at which the curve reaches the target, between rounds by a straight line."""
    first = int(np.argmax(accuracy >= target))
    if first == 0:
        return float(labels[0])
    before, after = accuracy[first - 1], accuracy[first]
    share = (target - before) / (after - before)
    return float(labels[first - 1] + share * (labels[first] - labels[first - 1]))
