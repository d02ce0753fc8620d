"""The page of a search: the best settings, what each parameter matters, slices, and what it buys against the default."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from xal.evaluation.curves import paired

Trial = Mapping[str, Any]

PAGE = """<!doctype html><html lang=en><meta charset=utf-8><title>xal tune</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color:#1f2937}}
table{{border-collapse:collapse}}td,th{{padding:3px 10px;border-bottom:1px solid #e5e7eb;text-align:right}}
td:first-child,th:first-child{{text-align:left}}img{{max-width:100%}}.soft{{color:#6b7280}}</style>
<h1>Search over settings</h1>
<p>{trials} trials, {failed} failed, {stopped} stopped early; {metric}, mean over the rounds of a trial, in mode
<b>{mode}</b>.</p>
<h2>Best</h2>{best}
<h2>What it bought</h2><p>{bought}</p>
<h2>Importance</h2>
<p class=soft>Share of the variance of finished trials (fANOVA); of few trials a rough guide.</p>{importance}
<h2>Slices</h2><p class=soft>One dot a trial; hollow: stopped early.</p>
<img src="data:image/png;base64,{slices}" alt="slices">
<h2>All trials</h2>{table}</html>
"""


def importance(trials: Sequence[Trial], distributions: Mapping[str, Any], rounds: int) -> dict[str, float]:
    """Shares of the variance by parameter, over trials that ran to the end; empty where there are fewer than four.

    In whatever order trials come, as those of a search that went on: the forest behind it draws by position.
    """
    import optuna

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
    page = PAGE.format(
        trials=len(trials),
        failed=sum(trial["reason"] is not None for trial in trials),
        stopped=sum(trial["value"] is not None and trial["round"] < rounds for trial in trials),
        metric=metric,
        mode=mode,
        best=_rows(list(best.items())) if best else "<p>Every trial failed.</p>",
        bought=_bought(values, difference, metric),
        importance=_rows([(name, f"{share:.1%}") for name, share in shares.items()]) or "<p>Too few trials.</p>",
        slices=_slices(good, rounds, log),
        table=_table(trials),
    )
    path = directory / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _bought(values: Mapping[str, Sequence[float]], difference: Any, metric: str) -> str:
    if difference is None:
        return "Not measured: there is no test set (pool.test), or no trial succeeded."
    default, best = np.mean(values["default"]), np.mean(values["best"])
    verdict = "no more than chance" if abs(difference.mean) <= difference.half else "more than chance"
    return (
        f"On held-out data, {len(values['best'])} paired seeds, mean {metric} over the rounds: default {default:.4f}, "
        f"best settings {best:.4f}, difference <b>{difference.signed()}</b> (95% interval): {verdict}."
    )


def _rows(pairs: Sequence[tuple[str, Any]]) -> str:
    if not pairs:
        return ""
    cells = "".join(f"<tr><td>{html.escape(name)}</td><td>{_number(value)}</td></tr>" for name, value in pairs)
    return f"<table>{cells}</table>"


def _table(trials: Sequence[Trial]) -> str:
    names = list(trials[0]["settings"]) if trials else []
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ["", *names, "value", "round", ""])
    lines = [
        [
            str(number),
            *(_number(trial["settings"][name]) for name in names),
            _number(trial["value"]),
            str(trial["round"]),
        ]
        + [html.escape(trial["reason"] or "")]
        for number, trial in enumerate(trials, 1)
    ]
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" for line in lines)
    return f"<table><tr>{head}</tr>{body}</table>"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else html.escape(str(value))


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
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode()
