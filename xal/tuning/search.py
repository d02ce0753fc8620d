"""`xal tune`: prepare the trials, search, compare the best settings with the default, and report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from xal.annotators.oracle import Oracle
from xal.campaign.pools import open_pools, test_place
from xal.campaign.recipe import Recipe
from xal.core.config import differences, unparse
from xal.core.extras import require
from xal.core.progress import Reporter
from xal.engine import SerialEngine
from xal.engine.ray.engine import as_ray
from xal.errors import RunError
from xal.store.directory import SEARCH, is_run, runs_below
from xal.tuning.objective import bought, plain_space, prepared, simulation
from xal.tuning.report import importance, write_search


def run_search(
    recipe: Recipe, directory: Path, source: Path | None, seeds: tuple[int, ...], reporter: Reporter
) -> tuple[Path, dict[str, Any] | None]:
    """Start or continue a search; returns (path of the report, best settings or None if every trial failed).

    source: the run whose labels are replayed; None: mode: oracle; seeds: of the final comparison with the default.
    Raises ConfigError for a search that cannot run, RunError for a directory of another search or of runs.
    """
    require("ray", "ray", "xal tune")
    from xal.engine.ray.tuning import distribution, search

    objective = prepared(recipe, directory, source, lambda: _claim(recipe, directory, source))
    settings = objective.search
    space = plain_space(recipe, settings)
    trials = search(
        as_ray(recipe.engine),
        objective,
        space,
        directory,
        trials=settings.trials,
        rounds=settings.rounds,
        stop_early=settings.stop_early,
        seed=settings.seed,
        say=reporter.say,
    )
    succeeded = [trial for trial in trials if trial["value"] is not None]
    ranked = sorted(
        succeeded, key=lambda trial: (trial["round"], trial["value"], json.dumps(trial["settings"], sort_keys=True))
    )
    best = ranked[-1]["settings"] if ranked else None
    values = {}
    test = test_place(recipe.pool, open_pools(recipe.pool, recipe.model))
    if best is not None and test is not None:
        final = _in_one_process(recipe if settings.mode == "oracle" else _replaying(recipe, objective.recipe, test))
        values = bought(final, best, directory / "held-out", seeds, settings.metric, reporter.say)
    shares = importance(trials, {path: distribution(span) for path, span in space.items()}, settings.rounds)
    page = write_search(
        directory,
        trials,
        shares,
        values,
        best=best,
        metric=settings.metric,
        mode=settings.mode,
        rounds=settings.rounds,
        log={path: span.log for path, span in settings.space.items()},
    )
    return page, best


def _in_one_process(recipe: Recipe) -> Recipe:
    """The recipe without its search, on a serial engine: starting actors takes longer than a small campaign."""
    original = recipe.engine
    engine = SerialEngine(
        batch=original.batch, threads=original.threads, precision=original.precision, compiled=original.compiled
    )
    return replace(simulation(recipe), search=None, seeds=None, engine=engine)


def _replaying(recipe: Recipe, trial: Recipe, test: str) -> Recipe:
    """The recipe on the pool and budget of the trials, with its own test pool."""
    pool = replace(trial.pool, test=test, validation=recipe.pool.validation)
    return replace(recipe, pool=pool, budget=trial.budget, annotator=Oracle())


def _claim(recipe: Recipe, directory: Path, source: Path | None) -> None:
    """Store the recipe in the directory of a new search; RunError if it holds runs or a search of another recipe."""
    identity = unparse(recipe) | {"from": None if source is None else str(source.resolve())}
    del identity["engine"]
    path = directory / SEARCH
    if not path.exists() and (is_run(directory) or runs_below(directory)):
        raise RunError(f"{directory} holds runs; choose another --out for the search")
    directory.mkdir(parents=True, exist_ok=True)
    if path.exists():
        changed = differences(identity, yaml.safe_load(path.read_text(encoding="utf-8")))
        if changed:
            raise RunError(
                f"{directory} holds another search; choose another --out, or undo:\n"
                + "\n".join(f"  - {line}" for line in changed)
            )
    else:
        path.write_text(yaml.safe_dump(identity, sort_keys=True), encoding="utf-8")
