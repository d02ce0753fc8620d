"""`xal label`: import labels and corrections from a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from xal.cli.options import RunPath, console, single_run


def label(
    run: RunPath,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, .xlsx or JSONL with the columns id and label.")],
    annotator: Annotated[str, typer.Option("--by", help="Name of the annotator.")] = os.environ.get("USER", "file"),
    correct: Annotated[
        bool, typer.Option("--correct", help="Labels that differ from earlier ones supersede them; both are kept.")
    ] = False,
) -> None:
    """Import labels and corrections from a file, all or none; files may cover a part of the batch.

    In place of a label: skip, unsure, or none (of these). Items of the pool that were not queried may have labels, too.
    """
    from xal.campaign.import_labels import import_labels

    imported = import_labels(single_run(run), file, annotator, correct)
    next_step = (
        f"waiting for {imported.waiting} more" if imported.waiting else "the batch is complete, continue with xal run"
    )
    console.print(f"{imported}; {next_step}", markup=False)
    for name, near in imported.new_classes:
        hint = f"; did you mean '{near}'? Put it right with xal label --correct" if near else ""
        console.print(f"new class: '{name}'{hint}", markup=False)
