"""Tables of a study for the page of results: thirds of the curve, labels saved, and how well forecasts held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xal.evaluation.curves import Curve, Curves, paired
from xal.evaluation.forecast import AHEAD, FEWEST, forecast
from xal.evaluation.labels_saved import saved_against

THIRDS = ("first", "middle", "last")


def thirds_rows(curves: Curves, baselines: Sequence[str]) -> list[list[str]]:
    """One row for each arm: differences of its mean over each third of the rounds from each baseline, paired by seed.

    Round 0, which all arms share, does not count; three more are needed. The arm of the largest first difference comes
    first.
    """
    rows = []
    for arm, by_seed in curves.items():
        cells, order = [], 0.0
        for baseline in baselines:
            base = curves.get(baseline, {})
            shared = sorted(by_seed.keys() & base.keys()) if arm != baseline else []
            for third in range(3):
                if not shared or min(len(each[seed][1]) for each in (by_seed, base) for seed in shared) < 4:
                    cells.append("")
                    continue
                found = paired(*([_third(each[seed], third) for seed in shared] for each in (by_seed, base)))
                order = order or found.mean
                cells.append(_bold(found.signed(), found.mean - found.half > 0))
        rows.append((order, [arm, *cells]))
    return [row for _, row in sorted(rows, key=lambda each: -each[0])]


def thirds_header(baselines: Sequence[str]) -> list[str]:
    """The titles of the columns of `thirds_rows`."""
    return ["arm", *(f"{third} third against {baseline}" for baseline in baselines for third in THIRDS)]


def saved_rows(curves: Curves, baseline: str) -> list[list[str]]:
    """(arm, labels saved against the baseline) of each other arm."""
    return [[arm, text] for arm, text in saved_against(curves, baseline).items()]


def forecast_row(title: str, curves: Curves, n_test: int | None) -> list[str] | None:
    """(study, forecasts, share whose interval held, mean width in points, mean error in points); None without any.

    n_test: items that accuracy was measured on; None: unknown, so that there is no row.
    """
    if n_test is None:
        return None
    held, widths, errors = [], [], []
    for by_seed in curves.values():
        for labels, accuracy in by_seed.values():
            for now in range(FEWEST - 1, len(labels) - 1):
                then = next((n for n in range(now + 1, len(labels)) if labels[n] >= labels[now] + AHEAD), None)
                if then is None:
                    break
                more = labels[then] - labels[now]
                found = forecast(labels[: now + 1], accuracy[: now + 1], more, n_test)
                if found is None:
                    continue
                gain = accuracy[then] - accuracy[now]
                held.append(found.low <= gain <= found.high)
                widths.append(found.high - found.low)
                errors.append(abs(found.gain - gain))
    if not held:
        return None
    mean_width, mean_error = 100 * float(np.mean(widths)), 100 * float(np.mean(errors))
    return [title, str(len(held)), f"{np.mean(held):.0%}", f"{mean_width:.1f}", f"{mean_error:.1f}"]


FORECAST_HEADER = ["study", "forecasts", "interval held", "mean width, points", "mean error, points"]


def n_measured(runs: Sequence[Any]) -> int | None:
    """Items that the runs were evaluated on; None if they differ."""
    steps = [step.metrics for run in runs for step in run.of("evaluate").values() if "accuracy" in step.metrics]
    sizes = {metrics["test_items"] for metrics in steps}
    return int(sizes.pop()) if len(sizes) == 1 else None


def _third(curve: Curve | Mapping[Any, Any], third: int) -> float:
    values = np.asarray(curve[1][1:], np.float64)
    return float(np.array_split(values, 3)[third].mean())


def _bold(text: str, above: bool) -> str:
    return f"**{text}**" if above else text
