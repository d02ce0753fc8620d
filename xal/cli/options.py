"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from xal.core.paths import location
from xal.errors import ConfigError, RunError

console = Console(highlight=False, soft_wrap=True, markup=False)  # names may hold brackets
RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe (YAML).", show_default=False)]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a field, e.g. train.epochs=5.")
]
RunPath = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="A run directory or a folder of runs; a path or a URL.",
        parser=location,
        show_default=False,
    ),
]


def path_option(text: str) -> Any:
    """A typer option that takes a path or a URL."""
    return typer.Option(metavar="PATH", help=text, parser=location)


def single_run(run: Path) -> Path:
    """`run` itself if it is a run directory, else the only one in it; raises RunError if there are several."""
    from xal.store.directory import run_directories

    directories = run_directories(run)
    if len(directories) > 1:
        names = ", ".join(str(path) for path in directories)
        raise RunError(f"{run} holds {len(directories)} runs; name one of them: {names}")
    return directories[0]


MAX_SEEDS = 10_000


def parse_seeds(text: str | None) -> tuple[int, ...] | None:
    """The seeds of `0-4` or `0,3,7`; None for None. Raises ConfigError for anything else, or for duplicates."""
    if text is None:
        return None
    try:
        seeds: list[int] = []
        for part in text.split(","):
            first, dash, last = part.partition("-")
            if dash and int(last) - int(first) >= MAX_SEEDS:
                raise ConfigError([f"--seeds {text}: more than {MAX_SEEDS:,} seeds"], "command line")
            seeds += range(int(first), int(last) + 1) if dash else [int(first)]
    except ValueError:
        seeds = []
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError([f"--seeds {text}: expected distinct seeds such as 0-4 or 0,3,7"], "command line")
    return tuple(seeds)
