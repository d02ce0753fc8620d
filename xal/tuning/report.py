"""The page of a search: the best settings, importance, slices, what they buy against the default."""

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

Trial = Mapping[str, Any]


def importance(trials: Sequence[Trial], distributions: Mapping[str, Any], rounds: int) -> dict[str, float]:
    """Shares of the variance by parameter, over trials that ran to the end; empty where there are fewer than four.

    In whatever order trials come, as those of a search that went on: the forest behind it draws by position.
    """
    optuna = require("optuna", "ray", "xal tune")

    ended = [trial for trial in trials if trial["value"] is not None and trial["round"] == rounds]
    whole = sorted(ended, key=lambda trial: (json.dumps(trial["settings"], sort_keys=True), trial["value"]))
    values = {trial["value"] for trial in whole}
    if len(whole) < 4 or len(values) < 2:
        return {}
    study = optuna.create_study(direction="maximize")
    for trial in whole:
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
    """Write report.html and search.json; returns the page."""
    good = [trial for trial in trials if trial["value"] is not None]
    difference = paired(values["best"], values["default"]) if values else None
    told = {
        "best": None if best is None else dict(best),
        "importance": dict(shares),
        "bought": None if difference is None else {"mean": difference.mean, "half": difference.half},
        "held_out": {name: list(each) for name, each in values.items()},
        "trials": list(trials),
    }
    (directory / "search.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
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
        slices=_slices(good, rounds, log),
    )
    path = directory / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _bought(values: Mapping[str, Sequence[float]], difference: Interval | None) -> dict[str, Any] | None:
    """What the best settings bring on held-out data; None: it was not measured."""
    if difference is None:
        return None
    return {
        "seeds": len(values["best"]),
        "default": float(np.mean(values["default"])),
        "best": float(np.mean(values["best"])),
        "difference": difference.signed(),
        "verdict": "no more than chance" if abs(difference.mean) <= difference.half else "more than chance",
    }


def _slices(trials: Sequence[Trial], rounds: int, log: Mapping[str, bool]) -> str:
    names = list(log)
    figure = Figure(figsize=(3.2 * max(len(names), 1), 2.8), dpi=110, layout="constrained")
    for number, name in enumerate(names):
        axis = figure.add_subplot(1, len(names), number + 1)
        for whole in (True, False):
            some = [trial for trial in trials if (trial["round"] == rounds) == whole]
            x = [trial["settings"][name] for trial in some]
            x = x if all(isinstance(each, int | float) for each in x) else [str(each) for each in x]
            axis.scatter(
                x, [t["value"] for t in some], s=22, facecolors="#2563eb" if whole else "none", edgecolors="#2563eb"
            )
        if log[name] and trials:
            axis.set_xscale("log")
        axis.set_xlabel(name, fontsize=9)
        axis.set_ylabel("value" if not number else "", fontsize=9)
    return base64.b64encode(png(figure)).decode()
