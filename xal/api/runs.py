"""Run recipes from Python, and look at runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xal.campaign.experiment import run_experiment
from xal.campaign.recipe import Recipe, load
from xal.core.config import parse, unparse
from xal.core.imports import allow_named
from xal.core.paths import location
from xal.core.progress import Reporter
from xal.errors import RunError
from xal.store.directory import run_directories
from xal.store.run import Run, read_run


def run(
    recipe: Recipe | Mapping[str, Any] | str | Path,
    out: str | Path | None = None,
    *,
    seeds: tuple[int, ...] | None = None,
    ledger: str | None = None,
    quiet: bool = False,
) -> list[Run]:
    """Run a recipe's campaign, or continue it; what each of its runs (arms x seeds) came to.

    recipe: a `Recipe`, a mapping as in YAML, or the path of a YAML file. out: where runs go; None: runs/NAME of a
    file, else runs/notebook. A run that waits for labels says so in its `state`. Raises ConfigError that lists every
    mistake, DataError for pools that are not there, RunError for a directory of another recipe.
    """
    if isinstance(recipe, str | Path):
        loaded, name = load(recipe), Path(recipe).stem
    else:
        loaded, name = parse(Recipe, recipe), "notebook"
        allow_named(unparse(loaded))
    directory = location(out) if out is not None else Path("runs") / name
    with Reporter(quiet=quiet) as reporter:
        run_experiment(loaded, directory, reporter, seeds, ledger)
    return [read_run(each, ledger) for each in run_directories(directory)]


def open_run(path: str | Path, ledger: str | None = None) -> Run:
    """The run at, or the only one in, a directory or URL: its rounds, labels and metrics.

    ledger: URL of a PostgreSQL ledger, for its password; None: $XAL_LEDGER. Raises RunError where there is no run, or
    several.
    """
    directories = run_directories(location(path))
    if len(directories) > 1:
        raise RunError(f"{path} holds {len(directories)} runs; name one: {', '.join(map(str, directories))}")
    return read_run(directories[0], ledger)
