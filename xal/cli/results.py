"""`xal results`: one page about many studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xal.cli.options import console


def results(
    studies: Annotated[Path, typer.Argument(metavar="FILE", help="Studies (YAML): runs, and the papers' numbers.")],
    out: Annotated[Path | None, typer.Option(help="Page to write; by default FILE with .md.")] = None,
) -> None:
    """Write a page about many studies from their runs: tables, curves, the papers' numbers, what does not reproduce."""
    from xal.report.reproduction import write_results

    page = out or studies.with_suffix(".md")
    command = f"xal results {studies}" + (f" --out {out}" if out else "")
    console.print(f"results: {write_results(studies, page, command, console.print)}")
