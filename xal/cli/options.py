"""What the parts of the command line share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from xal.core.paths import location
from xal.errors import RunError

console = Console(highlight=False, soft_wrap=True)
RunPath = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="A run directory or a folder of runs, a path or a URL.",
        parser=location,
        show_default=False,
    ),
]


def place(text: str) -> Any:
    """An option that takes a path or a URL."""
    return typer.Option(metavar="PATH", help=text, parser=location)


def one(run: Path) -> Path:
    """The run directory at, or the only one in, a path."""
    from xal.store.directory import run_directories

    directories = run_directories(run)
    if len(directories) > 1:
        names = ", ".join(str(path) for path in directories)
        raise RunError(f"{run} holds {len(directories)} runs; name one of them: {names}")
    return directories[0]
