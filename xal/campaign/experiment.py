"""Run all arms and seeds of a recipe, side by side as far as the cluster's resources allow."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import yaml

from xal.campaign.disk import check_disk, check_scratch
from xal.campaign.embedded import embedded
from xal.campaign.identity import MAY_CHANGE, as_now, changes, refuse
from xal.campaign.loop import Outcome, run_campaign
from xal.campaign.recipe import Recipe
from xal.campaign.run_spec import RunSpec, runs
from xal.campaign.trial import try_recipe
from xal.campaign.validation import checked_pools
from xal.core.config import differences
from xal.core.progress import Reporter
from xal.engine.engine import Session
from xal.errors import RunError, XalError
from xal.store.directory import SEARCH, is_run, open_ledger, runs_below


def run_experiment(
    recipe: Recipe,
    directory: Path,
    reporter: Reporter,
    seeds: tuple[int, ...] | None = None,
    ledger: str | None = None,
) -> list[Outcome]:
    """Start or continue all runs of a recipe under `directory`.

    ledger: the URL of a PostgreSQL database; None: $XAL_LEDGER, else SQLite in the run directories. Raises RunError if
    the directory holds a search, or runs of another recipe.
    """
    ledger = ledger or os.environ.get("XAL_LEDGER")
    with reporter.step("reading and checking the pools"):
        pools = checked_pools(recipe, reporter.say)
    specs = [replace(spec, ledger=ledger) for spec in runs(recipe, pools, directory, seeds)]
    if recipe.arms is None and not recipe.annotator.simulated:
        specs = [_of_the_same_labels(spec, directory) for spec in specs]
    if (directory / SEARCH).exists():
        raise RunError(f"{directory} holds a search; choose another --out for the runs")
    _refuse_other_recipes(specs, directory)
    if not any(is_run(spec.directory) for spec in specs):
        weight_bytes = try_recipe(recipe, pools, reporter)
        check_scratch(recipe, pools)
        check_disk(len(specs) * (recipe.budget.rounds + 1) * weight_bytes, directory)
    with reporter.step("starting the engine"):
        opened = recipe.engine.open()
    with opened as session:
        pools = embedded(recipe, pools, session, reporter)
        specs = [replace(spec, pools=pools) for spec in specs]
        side_by_side = len(specs) > 1 and session.parallel_slots > 1  # each run opens its own session
        own_evaluation = recipe.evaluate_explanations and recipe.explainers  # depends on the arm's explainer
        if len(recipe.strategies) > 1 and not recipe.feedbacks and not own_evaluation:
            # round 0 is the same in all arms of a seed: run and label it once
            first = {spec.seed: spec for spec in reversed(specs)}
            shared = [replace(spec, last_round=0) for spec in first.values()]
            outcomes = _run_all(shared, session, reporter, side_by_side)
            waiting = [outcome for outcome in outcomes if not outcome.finished]
            if waiting:
                return waiting
            specs = [replace(spec, shared_round0=first[spec.seed].directory) for spec in specs]
        return _run_all(specs, session, reporter, side_by_side)


def _of_the_same_labels(spec: RunSpec, directory: Path) -> RunSpec:
    """The spec in the directory of the only run of its seed: labels stay together when the strategy changes."""
    others = [run for run in runs_below(directory) if run.name.endswith(f"-seed{spec.seed}")]
    return replace(spec, directory=others[0]) if len(others) == 1 and not is_run(spec.directory) else spec


def _run_all(specs: list[RunSpec], session: Session, reporter: Reporter, side_by_side: bool) -> list[Outcome]:
    outcomes: list[Outcome] = []
    if side_by_side:
        reporter.say(f"{len(specs)} runs, {min(session.parallel_slots, len(specs))} side by side")
        with reporter.step(f"{len(specs)} runs"):
            for spec, result in session.parallel(_run_alone, specs):
                if isinstance(result, XalError):
                    raise result
                reporter.say(f"{spec.directory.name}: {len(outcomes) + 1} of {len(specs)} runs done")
                outcomes.append(result)
        return outcomes
    for number, spec in enumerate(specs, 1):
        reporter.say(f"run {number} of {len(specs)}: {spec.directory}{'' if spec.last_round is None else ', round 0'}")
        outcomes.append(run_campaign(spec, session, reporter))
    return outcomes


def _run_alone(spec: RunSpec) -> Outcome:
    """One run in its own process; its engine joins the cluster that this process runs on."""
    with spec.recipe.engine.open() as session:
        return run_campaign(spec, session, Reporter(quiet=True))


def _refuse_other_recipes(specs: list[RunSpec], directory: Path) -> None:
    ours = {spec.directory: spec for spec in specs}
    for other in runs_below(directory):
        ledger = open_ledger(other, specs[0].ledger)
        try:
            stored = yaml.safe_load(ledger.metadata("recipe") or "null")
            if stored is None:
                continue
            if other in ours:
                refuse(other, changes(ours[other], ledger)[1])
                continue
        finally:
            ledger.close()
        # another arm or seed: its explainer and feedback may differ as well
        may_differ = ("strategy", "seed:", "explainer", "feedback", *MAY_CHANGE)
        refuse(
            other,
            [line for line in differences(specs[0].identity(), as_now(stored)) if not line.startswith(may_differ)],
        )
