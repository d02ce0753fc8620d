"""`xal init`: look at data and write a recipe for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xal.cli.options import console
from xal.errors import DataError


def init(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A folder of images, a table, JSON lines, or a pool.")],
    recipe: Annotated[Path, typer.Argument(metavar="[RECIPE]", help="The recipe to write.")] = Path("recipe.yaml"),
    text_column: Annotated[str | None, typer.Option(help="Column with texts.")] = None,
    label_column: Annotated[str, typer.Option(help="Column with labels; '' for none.")] = "label",
) -> None:
    """Build a pool of your data, unless it is one, and write a recipe with comments beside it."""
    from xal.campaign.first_recipe import first_recipe
    from xal.data.build.builder import build
    from xal.data.pool import Pool

    if recipe.exists():
        raise DataError(f"{recipe} exists; name another recipe")
    try:
        pool, folder = Pool.open(source), source
    except DataError:
        folder = recipe.parent / f"{recipe.stem}-pool"
        built = build(source, folder, label_column=label_column or None, text_column=text_column)
        left_out = len(built.unreadable) + len(built.duplicates)
        console.print(f"{built.written:,} items in {folder}, of {built.read:,} read; left out: {left_out}")
        for note in built.notes:
            console.print(f"note: {note}")
        pool = Pool.open(folder)
    recipe.write_text(first_recipe(pool, str(folder)), encoding="utf-8")
    console.print(f"{recipe}: read it, then: xal validate {recipe}; xal run {recipe}")
