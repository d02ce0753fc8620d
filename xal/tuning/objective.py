"""The nested search (Nguyen & Ghose, section 3.2). The outer loop searches the settings of explainer and strategy
(theta) by Bayesian optimisation on Ray Tune; the inner loop chooses the model's hyperparameters (psi) by
cross-validation.

A trial is a small campaign in one process. Its directory is named by a hash of its settings, so that a restarted search
continues started trials and computes no settings twice. Its value is the mean validation metric over the rounds after
round 0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from xal.annotators.oracle import Oracle
from xal.campaign.loop import run_campaign
from xal.campaign.recipe import Budget, PoolSection, Recipe
from xal.campaign.run_spec import RunSpec
from xal.campaign.search_settings import Search
from xal.campaign.validation import checked_pools
from xal.core.config import override, parse, unparse
from xal.core.progress import Reporter
from xal.core.rng import HashRng
from xal.data.pool import METADATA_KEY, Pool
from xal.engine import SerialEngine
from xal.errors import ConfigError, DataError, RunError
from xal.store.run import read_run

DATA, TRIALS = "data", "trials"


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The value of a trial's settings; picklable, for the workers of Ray Tune."""

    recipe: Recipe
    search: Search
    directory: Path

    def rounds(self, settings: Mapping[str, Any]) -> Iterator[tuple[int, float]]:
        """Run a trial; yields (round, mean value of the rounds so far). Raises what its campaign raises."""
        recipe = with_settings(self.recipe, settings)
        name = hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode()).hexdigest()[:16]
        folder = self.directory / TRIALS / name
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # the search may draw the same settings again while they run
            (folder / "settings.json").write_text(json.dumps(dict(settings), indent=2) + "\n", encoding="utf-8")
            pools = checked_pools(recipe)
            specs = [
                RunSpec(
                    recipe=recipe,
                    pools=pools,
                    arm=next(iter(recipe.strategies)),
                    seed=seed,
                    directory=folder / f"seed{seed}",
                )
                for seed in self.search.seeds
            ]
            for round in range(1, self.search.rounds + 1):
                values = []
                for spec in specs:
                    with recipe.engine.open() as session:
                        run_campaign(replace(spec, last_round=round), session, Reporter(quiet=True))
                    values.append(np.mean(read_run(spec.directory).curve(self.search.metric)[1][1 : round + 1]))
                yield round, float(np.mean(values))


def checked_search(recipe: Recipe) -> Search:
    """The recipe's search; ConfigError for an empty space, unknown settings, or values outside their range."""
    search = recipe.search
    if search is None or not search.space:
        raise ConfigError(["search.space: names no parameter; give at least one, e.g. explainer.max_evals"])
    if recipe.arms is not None:
        raise ConfigError(["arms: xal tune searches the settings of one strategy; give `strategy` in place of `arms`"])
    problems: list[str] = []
    if recipe.feedback is not None and (search.mode == "replay" or not recipe.annotator.uses_relevance):
        problems.append("feedback: trials cannot ask people to correct; use mode: oracle with annotator: simulated")
    for path, span in search.space.items():
        for value in span.ends:
            try:
                with_settings(replace(recipe, search=None), {path: value})
            except ConfigError as error:
                problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise ConfigError(problems, "search.space")
    return search


def plain_space(recipe: Recipe, search: Search) -> dict[str, list[Any] | tuple[float, float, bool, bool]]:
    """By dotted path, a list of choices or (low, high, log, integer: whether the setting takes only integers)."""
    spans: dict[str, list[Any] | tuple[float, float, bool, bool]] = {}
    for path, span in search.space.items():
        if span.choices is not None:
            spans[path] = list(span.choices)
            continue
        try:
            with_settings(replace(recipe, search=None), {path: span.between})
            integer = False
        except ConfigError:
            integer = True
        spans[path] = (*span.ends, span.log, integer)
    return spans


def simulation(recipe: Recipe) -> Recipe:
    """The recipe with an annotator that answers at once: its own if simulated, else the oracle."""
    return recipe if recipe.annotator.simulated else replace(recipe, annotator=Oracle())


def with_settings(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """The recipe with settings replaced, by dotted path; ConfigError for unknown settings or wrong values."""
    mapping = unparse(recipe)
    override(mapping, [f"{path}={json.dumps(value)}" for path, value in settings.items()])
    changed: Recipe = parse(Recipe, mapping, "search.space")
    return changed


def prepared(
    recipe: Recipe, directory: Path, source: Path | None, claim: Callable[[], None] = lambda: None
) -> Objective:
    """Check the search, and write the pools of its trials to `directory` unless they exist.

    source: the run whose labels are replayed; None: mode: oracle; claim: called after the checks, before anything is
    written. Raises ConfigError for a search that cannot run, RunError for a `source` on another pool or with too few
    labels, DataError for a pool without labels.
    """
    search = checked_search(recipe)
    if (search.mode == "replay") != (source is not None):
        raise ConfigError(["search.mode: replay needs the labels of a run, --from RUN; oracle takes no --from"])
    directory = directory.resolve()  # trials run in Ray's own working folders
    recipe = replace(recipe, search=None)
    pools = checked_pools(recipe)
    pool, classes = pools.pool, pools.label_space.classes
    table = _replayed_items(source, pool) if source is not None else _sampled_items(pool, search)
    n_validation = max(1, round(search.validation * len(table)))
    size = len(table) - n_validation
    fifth = max(2, size // 5)
    default = (recipe.budget.initial, recipe.budget.per_round) if search.mode == "oracle" else (fifth, fifth)
    initial, per_round = search.initial or default[0], search.per_round or default[1]
    budget = Budget(initial=initial, balanced=recipe.budget.balanced, per_round=per_round, rounds=search.rounds)
    if budget.total > size:
        raise ConfigError(
            [
                f"search: {initial} + {search.rounds} x {per_round} = {budget.total} labels, but the trials' pool "
                f"has {size} items; lower search.initial, per_round or rounds, or raise search.items"
            ]
        )
    claim()
    folder = directory / DATA
    if not (folder / "validation.parquet").exists():  # written last
        folder.mkdir(parents=True, exist_ok=True)
        draws = (
            HashRng(search.seed).child("validation").uniform(table["id"].to_numpy(zero_copy_only=False).astype(object))
        )
        order = np.argsort(draws, kind="stable")
        for name, rows in (("pool", order[n_validation:]), ("validation", order[:n_validation])):
            metadata = {
                METADATA_KEY: json.dumps({"classes": list(classes), "channels": pool.channels, "names": pool.names})
            }
            part = table.take(pa.array(np.sort(rows))).replace_schema_metadata(metadata)
            pq.write_table(part, folder / f"{name}.parquet")
    original = recipe.engine
    engine = SerialEngine(
        batch=original.batch, threads=1, precision=original.precision, compiled=original.compiled, device="cpu"
    )
    section = PoolSection(
        source=str(folder / "pool.parquet"),
        test=str(folder / "validation.parquet"),
        classes=classes,
    )
    train = replace(recipe.train, threads=1)
    return Objective(
        recipe=replace(simulation(recipe), pool=section, budget=budget, engine=engine, train=train, seeds=None),
        search=search,
        directory=directory,
    )


def _sampled_items(pool: Pool, search: Search) -> pa.Table:
    """Random items of the pool with their labels; DataError for a pool without labels."""
    if not pool.has_labels:
        raise DataError("search.mode: oracle needs a pool with a `label` column; use replay with the labels of a run")
    size = min(search.items, len(pool))
    rows = np.sort(np.random.default_rng(search.seed).choice(len(pool), size, replace=False))
    return pool.read(rows, list(pool.columns))


def _replayed_items(source: Path, pool: Pool) -> pa.Table:
    """The items that a run has labelled, with those labels; RunError for another pool or fewer than 20 labels."""
    run = read_run(source)
    if run.pool != pool.fingerprint:
        raise RunError(f"{source} labelled another pool than {pool.folder}; use the recipe of that run")
    labels = {item.row: item.label for item in run.queried if item.label is not None}
    if len(labels) < 20:
        raise RunError(f"{source} has {len(labels)} labels; replay needs at least 20, to split them")
    rows = np.array(sorted(labels), np.int64)
    table = pool.read(rows, [name for name in pool.columns if name != "label"])
    return table.append_column("label", pa.array([labels[int(row)] for row in rows], pa.string()))


def bought(
    recipe: Recipe,
    settings: Mapping[str, Any],
    directory: Path,
    seeds: tuple[int, ...],
    metric: str,
    say: Callable[[str], None],
) -> dict[str, list[float]]:
    """Run whole campaigns, with the recipe's own settings and with `settings`, on the recipe's pools.

    Returns the test metric, its mean over the rounds after round 0, one value per seed: {"default": ..., "best": ...}.
    """
    values: dict[str, list[float]] = {}
    for name, variant in (("default", recipe), ("best", with_settings(recipe, settings))):
        values[name] = []
        pools = checked_pools(variant)
        for seed in seeds:
            spec = RunSpec(
                recipe=variant,
                pools=pools,
                arm=next(iter(variant.strategies)),
                seed=seed,
                directory=directory / f"{name}-seed{seed}",
            )
            with variant.engine.open() as session:
                run_campaign(spec, session, Reporter(quiet=True))
            curve = read_run(spec.directory).curve(metric)[1][1:]
            values[name].append(float(np.mean(curve)))
            say(f"{name}, seed {seed}: mean {metric} over rounds {values[name][-1]:.4f}")
    return values
