"""`xal classes`: show or add the classes of a run."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from xal.cli.options import RunPath, console, single_run
from xal.errors import RunError


def classes(
    run: RunPath,
    action: Annotated[Literal["list", "add"], typer.Argument(help="What to do.")] = "list",
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="New classes.")] = None,
) -> None:
    """List the classes of a run, or add new ones after them."""
    from xal.campaign.identity import append_classes, label_space_of
    from xal.store.directory import held, open_ledger

    directory = single_run(run)
    if action == "add":
        if not names:
            raise RunError("name the classes to add: xal classes RUN add NAME")
        with held(directory) as ledger:
            append_classes(ledger, names)
    ledger = open_ledger(directory)
    for name in label_space_of(ledger).classes:
        console.print(name)
    ledger.close()
