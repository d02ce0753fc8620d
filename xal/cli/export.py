"""`xal export`: take labels, predictions or the model out of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from xal.cli.options import RunPath, console, single_run


def export(
    run: RunPath,
    what: Annotated[
        Literal["labels", "predictions", "uncertain", "suspects", "model"], typer.Argument(help="What to take out.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="A .csv, .jsonl or .parquet; a folder for the model. By default WHAT.csv.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Number of uncertain items.")] = 100,
) -> None:
    """Write a run's labels, predictions, most uncertain items, suspected label errors, or model."""
    from xal.campaign.export import export as write

    destination = out or Path("model" if what == "model" else f"{what}.csv")
    rows = write(single_run(run), what, destination, limit)
    if what == "model":
        console.print(f"model: {destination}")
        console.print(f'import xal\nmodel = xal.load_model("{destination}")\nmodel.predict([...])')
    else:
        console.print(f"{rows:,} rows in {destination}")
