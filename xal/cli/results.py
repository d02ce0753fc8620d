"""`xal results`: one page on many studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xal.cli.options import console


def results(
    studies: Annotated[Path, typer.Argument(metavar="FILE", help="Studies (YAML): runs, and the papers' figures.")],
    out: Annotated[Path | None, typer.Option(help="The page; FILE with .md by default.")] = None,
) -> None:
    """Write a page on many studies from their runs: tables, curves, the papers' figures, what does not reproduce."""
    from xal.report.reproduction import write_results

    page = out or studies.with_suffix(".md")
    command = f"xal results {studies}" + (f" --out {out}" if out else "")
    console.print(f"results: {write_results(studies, page, command, console.print)}")
