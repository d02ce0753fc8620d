"""`xal label`: take labels, and corrections, from a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from xal.cli.options import RunPath, console, one


def label(
    run: RunPath,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or JSONL with columns id and label.")],
    annotator: Annotated[str, typer.Option("--by", help="Who labelled.")] = os.environ.get("USER", "file"),
) -> None:
    """Take labels back, in parts if need be; all of the file or nothing."""
    from xal.campaign.import_labels import import_labels

    new, waiting = import_labels(one(run), file, annotator)
    follow = f"waiting for {waiting} more" if waiting else "that is all: xal run goes on"
    console.print(f"{new} new labels taken; {follow}")
