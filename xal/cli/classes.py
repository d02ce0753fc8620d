"""`xal classes`: show, add or remove the classes of a run."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from xal.cli.options import RunPath, console, single_run
from xal.errors import RunError


def classes(
    run: RunPath,
    action: Annotated[Literal["list", "add", "remove"], typer.Argument(help="What to do.")] = "list",
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Classes to add or to remove.")] = None,
) -> None:
    """List the classes of a run, add new ones after them, or remove some that no item and no model has."""
    from xal.campaign.identity import append_classes, label_space_of, remove_classes
    from xal.store.directory import held, open_ledger

    directory = single_run(run)
    if action != "list":
        if not names:
            raise RunError(f"name the classes to {action}: xal classes RUN {action} NAME")
        with held(directory) as ledger:
            (append_classes if action == "add" else remove_classes)(ledger, names)
    ledger = open_ledger(directory)
    for name in label_space_of(ledger).classes:
        console.print(name)
    ledger.close()
