"""`xal report`: one page about runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xal.cli.options import RunPath, console, path_option


def report(
    run: RunPath,
    out: Annotated[Path | None, path_option("Page to write; by default RUN/report.html.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Markdown file for tables, with curves as SVG beside it.")
    ] = None,
) -> None:
    """Write one self-contained HTML page about a run, or about all runs in a folder."""
    from xal.report.html import write_report
    from xal.report.markdown import write_markdown
    from xal.store.directory import run_directories

    if markdown is not None:
        command = f"xal report {run} --markdown {markdown}"
        console.print(f"tables: {write_markdown(run_directories(run), markdown, command)}")
        if out is None:
            return
    console.print(f"report: {write_report(run_directories(run), out or run / 'report.html')}")
