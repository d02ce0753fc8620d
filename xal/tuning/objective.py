"""The nested search (Nguyen & Ghose, section 3.2): outside, the settings of explainer and strategy (theta) by Bayesian
optimisation on Ray Tune; inside, the model's own hyperparameters (psi) by cross-validation.

A trial is a small campaign in one process, in a directory named by its settings: what a killed search has begun, its
next start continues, and no settings are computed twice. Its value is the validation metric, the mean over the rounds
after round 0.
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
    """What trials compute: small and picklable."""

    recipe: Recipe
    search: Search
    directory: Path

    def rounds(self, settings: Mapping[str, Any]) -> Iterator[tuple[int, float]]:
        """(round, mean value so far) of a trial, as they come; raises what its campaign raises."""
        recipe = with_settings(self.recipe, settings)
        name = hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode()).hexdigest()[:16]
        folder = self.directory / TRIALS / name
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # the same settings may be drawn again while they run
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
    """The recipe's search; ConfigError where it names nothing, or no setting that exists, or values that are none."""
    search = recipe.search
    if search is None or not search.space:
        raise ConfigError(["search.space: names no parameter; give at least one, e.g. explainer.max_evals"])
    if recipe.arms is not None:
        raise ConfigError(["arms: xal tune searches the settings of one strategy; give `strategy` in their place"])
    problems: list[str] = []
    if recipe.feedback is not None and (search.mode == "replay" or not recipe.annotator.knows_relevance):
        problems.append("feedback: trials have nobody to correct them; take mode: oracle with annotator: simulated")
    for path, span in search.space.items():
        for value in span.ends:
            try:
                with_settings(replace(recipe, search=None), {path: value})
            except ConfigError as error:
                problems += [each for each in error.problems if each not in problems]
    if problems:
        raise ConfigError(problems, "search.space")
    return search


def plain_space(recipe: Recipe, search: Search) -> dict[str, list[Any] | tuple[float, float, bool, bool]]:
    """By path a list of choices, or (low, high, log, whole: the setting takes no other numbers)."""
    spans: dict[str, list[Any] | tuple[float, float, bool, bool]] = {}
    for path, span in search.space.items():
        if span.choices is not None:
            spans[path] = list(span.choices)
            continue
        try:
            with_settings(replace(recipe, search=None), {path: span.between})
            whole = False
        except ConfigError:
            whole = True
        spans[path] = (*span.ends, span.log, whole)
    return spans


def simulation(recipe: Recipe) -> Recipe:
    """The recipe with somebody to label who does not keep a search waiting."""
    return recipe if recipe.annotator.simulated else replace(recipe, annotator=Oracle())


def with_settings(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """The recipe with settings replaced; ConfigError where they are none."""
    mapping = unparse(recipe)
    override(mapping, [f"{path}={json.dumps(value)}" for path, value in settings.items()])
    changed: Recipe = parse(Recipe, mapping, "search.space")
    return changed


def prepared(
    recipe: Recipe, directory: Path, source: Path | None, claim: Callable[[], None] = lambda: None
) -> Objective:
    """Check the search, and write the pools of its trials to `directory`, unless they are there.

    source: the run whose labels are replayed; claim: called when all is right and nothing is written yet. Raises
    ConfigError, RunError, DataError.
    """
    search = checked_search(recipe)
    if (search.mode == "replay") != (source is not None):
        raise ConfigError(
            ["search.mode: replay wants the labels of a run, --from RUN; oracle takes none (--set search.mode=replay)"]
        )
    directory = directory.resolve()  # trials run in folders of Ray's own
    recipe = replace(recipe, search=None)
    pools = checked_pools(recipe)
    pool, classes = pools.pool, pools.label_space.classes
    table = _replayed(source, pool) if source is not None else _drawn(pool, search)
    held = max(1, round(search.validation * len(table)))
    size = len(table) - held
    fifth = max(2, size // 5)
    given = (recipe.budget.initial, recipe.budget.per_round) if search.mode == "oracle" else (fifth, fifth)
    initial, per_round = search.initial or given[0], search.per_round or given[1]
    budget = Budget(initial=initial, balanced=recipe.budget.balanced, per_round=per_round, rounds=search.rounds)
    if budget.total > size:
        raise ConfigError(
            [
                f"search: {initial} + {search.rounds} x {per_round} = {budget.total} labels, but what plays the pool "
                f"has {size} items; lower search.initial, per_round or rounds, or raise search.items"
            ]
        )
    claim()
    folder = directory / DATA
    if not (folder / "validation.parquet").exists():
        folder.mkdir(parents=True, exist_ok=True)
        draws = (
            HashRng(search.seed).child("validation").uniform(table["id"].to_numpy(zero_copy_only=False).astype(object))
        )
        order = np.argsort(draws, kind="stable")
        for name, rows in (("pool", order[held:]), ("validation", order[:held])):  # the last says that both are there
            metadata = {
                METADATA_KEY: json.dumps({"classes": list(classes), "channels": pool.channels, "names": pool.names})
            }
            part = table.take(pa.array(np.sort(rows))).replace_schema_metadata(metadata)
            pq.write_table(part, folder / f"{name}.parquet")
    own = recipe.engine
    engine = SerialEngine(batch=own.batch, threads=1, precision=own.precision, compiled=own.compiled, device="cpu")
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


def _drawn(pool: Pool, search: Search) -> pa.Table:
    if not pool.has_labels:
        raise DataError("search.mode: oracle asks the pool's own labels, and it has no `label` column; use replay")
    size = min(search.items, len(pool))
    rows = np.sort(np.random.default_rng(search.seed).choice(len(pool), size, replace=False))
    return pool.read(rows, list(pool.columns))


def _replayed(source: Path, pool: Pool) -> pa.Table:
    run = read_run(source)
    if run.pool != pool.fingerprint:
        raise RunError(f"{source} labelled another pool than {pool.folder}; replay wants the recipe of that run")
    labels = {item.row: item.label for item in run.queried if item.label is not None}
    if len(labels) < 20:
        raise RunError(f"{source} has {len(labels)} labels; replay wants 20 at least, to split them")
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
    """The held-out metric of the recipe as it is and with settings, by seed, of whole campaigns on its own pools."""
    values: dict[str, list[float]] = {}
    for name, chosen in (("default", recipe), ("best", with_settings(recipe, settings))):
        values[name] = []
        pools = checked_pools(chosen)
        for seed in seeds:
            spec = RunSpec(
                recipe=chosen,
                pools=pools,
                arm=next(iter(chosen.strategies)),
                seed=seed,
                directory=directory / f"{name}-seed{seed}",
            )
            with chosen.engine.open() as session:
                run_campaign(spec, session, Reporter(quiet=True))
            measure = read_run(spec.directory).curve(metric)[1][1:]
            values[name].append(float(np.mean(measure)))
            say(f"{name}, seed {seed}: mean {metric} over rounds {values[name][-1]:.4f}")
    return values
