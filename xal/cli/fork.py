"""`xal fork`: another recipe with the same labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xal.cli.options import RecipeFile, RunPath, Settings, console, single_run


def fork(
    run: RunPath,
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Folder of the new runs.")],
    recipe: RecipeFile,
    settings: Settings = None,
) -> None:
    """Start a recipe's runs with all labels of another run."""
    from xal.campaign.fork import fork as carry_over
    from xal.campaign.recipe import load

    for directory in carry_over(single_run(run), new, load(recipe, settings)):
        console.print(f"{directory}: starts from the labels of {run}")
    console.print(f"go on with: xal run {recipe} --out {new}")
