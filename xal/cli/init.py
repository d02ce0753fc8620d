"""`xal init`: look at data and write a recipe for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xal.cli.options import console
from xal.cli.pool import field_and_value
from xal.errors import DataError

MOST_LINES = 10
"""Of each list of items that were left out; `xal pool build` lists all."""


def init(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A folder of images, a table, JSON lines, or a pool.")],
    recipe: Annotated[Path, typer.Argument(metavar="[RECIPE]", help="The recipe to write.")] = Path("recipe.yaml"),
    text_column: Annotated[str | None, typer.Option(help="Column with texts.")] = None,
    label_column: Annotated[str, typer.Option(help="Column with labels; '' for none.")] = "label",
    id_column: Annotated[str, typer.Option(help="Column with unique ids.")] = "id",
    where: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=VALUE", help="Use only JSON records with this value; repeatable.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Table with the names of a folder's images, and their labels."),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Leave out a column of a table; repeatable.")
    ] = None,
) -> None:
    """Build a pool of your data, unless it is one, and write a recipe with comments beside it.

    `xal pool build` has more options for the pool.
    """
    from xal.campaign.first_recipe import first_recipe
    from xal.core.progress import Reporter
    from xal.data.build.builder import build
    from xal.data.pool import Pool

    if recipe.exists():
        raise DataError(f"{recipe} exists; name another recipe")
    try:
        pool, folder = Pool.open(source), source
    except DataError:
        folder = recipe.parent / f"{recipe.stem}-pool"
        with Reporter() as reporter, reporter.step(f"reading {source}"):
            built = build(
                source,
                folder,
                id_column=id_column,
                label_column=label_column or None,
                text_column=text_column,
                where=dict(field_and_value(setting) for setting in where or ()),
                labels_file=labels,
                drop=tuple(drop or ()),
                progress=reporter.stage("pool build"),
            )
        for line in built.lines(folder, MOST_LINES):
            console.print(line, markup=False)
        pool = Pool.open(folder)
    recipe.write_text(first_recipe(pool, str(folder)), encoding="utf-8")
    console.print(f"{recipe}: read it, then: xal validate {recipe}; xal run {recipe}")
