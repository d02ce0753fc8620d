"""The report of a search: best settings, importance of parameters, slices, and the gain over the default."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from xal.core.extras import require
from xal.core.html import render
from xal.core.plotting import png
from xal.evaluation.curves import Interval, paired
from xal.store.atomic import write_text

Trial = Mapping[str, Any]


def importance(trials: Sequence[Trial], distributions: Mapping[str, Any], rounds: int) -> dict[str, float]:
    """fANOVA importance by parameter, shares that sum to 1, over the trials that ran all `rounds`.

    {} for fewer than four such trials, or if all have the same value. Trials are sorted first: the random forest of
    fANOVA depends on their order, which differs in a continued search.
    """
    optuna = require("optuna", "ray", "xal tune")

    complete = [trial for trial in trials if trial["value"] is not None and trial["round"] == rounds]
    complete.sort(key=lambda trial: (json.dumps(trial["settings"], sort_keys=True), trial["value"]))
    values = {trial["value"] for trial in complete}
    if len(complete) < 4 or len(values) < 2:
        return {}
    study = optuna.create_study(direction="maximize")
    for trial in complete:
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(trial["settings"]), distributions=dict(distributions), value=float(trial["value"])
            )
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def write_search(
    directory: Path,
    trials: Sequence[Trial],
    shares: Mapping[str, float],
    values: Mapping[str, Sequence[float]],
    *,
    best: Mapping[str, Any] | None,
    metric: str,
    mode: str,
    rounds: int,
    log: Mapping[str, bool],
) -> Path:
    """Write report.html and search.json; returns the path of the report.

    shares: importance by parameter; values: test metric by seed of "default" and "best", {} if not measured; log:
    whether each parameter was searched on a logarithmic scale.
    """
    succeeded = [trial for trial in trials if trial["value"] is not None]
    difference = paired(values["best"], values["default"]) if values else None
    content = {
        "best": None if best is None else dict(best),
        "importance": dict(shares),
        "bought": None if difference is None else {"mean": difference.mean, "half": difference.half},
        "held_out": {name: list(by_seed) for name, by_seed in values.items()},
        "trials": list(trials),
    }
    (directory / "search.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    page = render(
        "search.html",
        trials=trials,
        names=list(log),
        failed=sum(trial["reason"] is not None for trial in trials),
        stopped=sum(trial["value"] is not None and trial["round"] < rounds for trial in trials),
        metric=metric,
        mode=mode,
        best=best,
        bought=_bought(values, difference),
        shares=shares,
        slices=_slices(succeeded, rounds, log),
    )
    path = directory / "report.html"
    write_text(path, page)
    return path


def _bought(values: Mapping[str, Sequence[float]], difference: Interval | None) -> dict[str, Any] | None:
    """Test metric of the best settings and of the default, and their difference; None: not measured."""
    if difference is None:
        return None
    return {
        "seeds": len(values["best"]),
        "default": float(np.mean(values["default"])),
        "best": float(np.mean(values["best"])),
        "difference": difference.signed(),
        "verdict": "not significant" if abs(difference.mean) <= difference.half else "significant",
    }


def _slices(trials: Sequence[Trial], rounds: int, log: Mapping[str, bool]) -> str:
    """A base64 PNG with one scatter plot of trial values per parameter; trials that were stopped early are hollow."""
    names = list(log)
    figure = Figure(figsize=(3.2 * max(len(names), 1), 2.8), dpi=110, layout="constrained")
    for number, name in enumerate(names):
        axis = figure.add_subplot(1, len(names), number + 1)
        for complete in (True, False):
            points = [trial for trial in trials if (trial["round"] == rounds) == complete]
            x = [trial["settings"][name] for trial in points]
            x = x if all(isinstance(value, int | float) for value in x) else [str(value) for value in x]
            y = [trial["value"] for trial in points]
            axis.scatter(x, y, s=22, facecolors="#2563eb" if complete else "none", edgecolors="#2563eb")
        if log[name] and trials:
            axis.set_xscale("log")
        axis.set_xlabel(name, fontsize=9)
        axis.set_ylabel("value" if not number else "", fontsize=9)
    return base64.b64encode(png(figure)).decode()
