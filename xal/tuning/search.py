"""`xal tune` from beginning to end: prepare, search, compare with the default, report."""

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
    """(the page, the best settings or None where every trial failed).

    Raises ConfigError for a search that cannot run, RunError for a directory of another search.
    """
    require("ray", "ray", "xal tune")
    from xal.engine.ray.tuning import distribution, search

    objective = prepared(recipe, directory, source, lambda: _claim(recipe, directory, source))
    wanted = objective.search
    space = plain_space(recipe, wanted)
    trials = search(
        as_ray(recipe.engine),
        objective,
        space,
        directory,
        trials=wanted.trials,
        rounds=wanted.rounds,
        stop_early=wanted.stop_early,
        seed=wanted.seed,
        say=reporter.say,
    )
    good = [trial for trial in trials if trial["value"] is not None]
    ranked = sorted(
        good, key=lambda trial: (trial["round"], trial["value"], json.dumps(trial["settings"], sort_keys=True))
    )
    best = ranked[-1]["settings"] if good else None
    values = {}
    test = test_place(recipe.pool, open_pools(recipe.pool, recipe.model))
    if best is not None and test is not None:
        whole = _in_one_process(recipe if wanted.mode == "oracle" else _replaying(recipe, objective.recipe, test))
        values = bought(whole, best, directory / "held-out", seeds, wanted.metric, reporter.say)
    shares = importance(trials, {path: distribution(span) for path, span in space.items()}, wanted.rounds)
    page = write_search(
        directory,
        trials,
        shares,
        values,
        best=best,
        metric=wanted.metric,
        mode=wanted.mode,
        rounds=wanted.rounds,
        log={path: span.log for path, span in wanted.space.items()},
    )
    return page, best


def _in_one_process(recipe: Recipe) -> Recipe:
    """The recipe without its search, on one process: a small campaign is over before actors have started."""
    own = recipe.engine
    engine = SerialEngine(batch=own.batch, threads=own.threads, precision=own.precision, compiled=own.compiled)
    return replace(simulation(recipe), search=None, seeds=None, engine=engine)


def _replaying(recipe: Recipe, trial: Recipe, test: str) -> Recipe:
    """The recipe with the labels that trials have, the test pool as it is."""
    pool = replace(trial.pool, test=test, validation=recipe.pool.validation)
    return replace(recipe, pool=pool, budget=trial.budget, annotator=Oracle())


def _claim(recipe: Recipe, directory: Path, source: Path | None) -> None:
    """Write, or check, whose search this is."""
    whole = unparse(recipe) | {"from": None if source is None else str(source.resolve())}
    del whole["engine"]
    path = directory / SEARCH
    if not path.exists() and (is_run(directory) or runs_below(directory)):
        raise RunError(f"{directory} holds runs; choose another --out for the search")
    directory.mkdir(parents=True, exist_ok=True)
    if path.exists():
        changed = differences(whole, yaml.safe_load(path.read_text(encoding="utf-8")))
        if changed:
            raise RunError(
                f"{directory} holds another search; choose another --out, or undo:\n"
                + "\n".join(f"  - {line}" for line in changed)
            )
    else:
        path.write_text(yaml.safe_dump(whole, sort_keys=True), encoding="utf-8")
