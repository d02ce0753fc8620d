"""What a run says about going on: the forecast of what more labels bring, and its stopping rule."""

from __future__ import annotations

from collections.abc import Sequence

from xal.core.config import parse
from xal.core.imports import check_stored
from xal.errors import XalError
from xal.evaluation.forecast import AHEAD, forecast
from xal.evaluation.stopping import Observed, StoppingRule
from xal.store.run import Run


def advice(run: Run) -> list[str]:
    """Sentences for `xal run`, `xal status` and the report; none while there is too little to go by."""
    return [line for line in (forecast_line(run), stop_line(run)) if line]


def forecast_line(run: Run) -> str:
    """Such as "forecast: 100 more labels: +0.8 points (0.2 to 1.5), about 50 min at 30 s a label"."""
    labels, accuracy = run.curve()
    budget = run.recipe["budget"]
    more = budget["per_round"] * -(-AHEAD // budget["per_round"])
    evaluated = [step.metrics for step in run.of("evaluate").values() if "accuracy" in step.metrics]
    if not evaluated or not (found := forecast(labels, accuracy, more, evaluated[-1]["test_items"])):
        return ""
    seconds = budget.get("seconds_per_label")
    cost = f", {duration(more * seconds)} at {seconds:g} s a label" if seconds else ""
    return f"forecast: {found}{cost}"


def stop_line(run: Run) -> str:
    """Such as "stabilized_predictions would have stopped after round 7"; empty without a rule."""
    if not run.recipe.get("stop"):
        return ""
    try:
        check_stored(run.recipe["stop"], run.directory)
        rule: StoppingRule = parse(StoppingRule, run.recipe["stop"], "stop")
    except XalError as error:
        return f"its stopping rule cannot be asked: {error}"
    history = observations(run)
    since = rule.since(history)
    if since is not None:
        spent = sum(item.round <= since for item in run.queried)
        return f"{rule.name} would have stopped after round {since}, at {spent} labels"
    last = history[-1].agreement if history and rule.name == "stabilized_predictions" else None
    return f"{rule.name}: go on" + (f" (agreement of the last two models {last:.3f})" if last is not None else "")


def observations(run: Run) -> Sequence[Observed]:
    """What the rounds with a model measured."""
    steps = [(round, step.metrics) for round, step in run.of("evaluate").items() if "accuracy" in step.metrics]
    return [
        Observed(
            round=round,
            accuracy=metrics["accuracy"],
            agreement=metrics.get("stop", {}).get("agreement"),
            uncertainty=metrics.get("stop", {}).get("uncertainty"),
        )
        for round, metrics in steps
    ]


def duration(seconds: float) -> str:
    """Such as "about 50 min" or "about 3.5 h"."""
    return f"about {seconds / 3600:.1f} h" if seconds >= 7200 else f"about {max(seconds / 60, 1):.0f} min"
