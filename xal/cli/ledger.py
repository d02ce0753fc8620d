"""`xal ledger`: copies of a run's ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xal.cli.options import RunPath, console, single_run

ledger_app = typer.Typer(no_args_is_help=True, help="Copy a run's ledger, and bring it back.")


@ledger_app.command("backup")
def ledger_backup(
    run: RunPath,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy.")],
) -> None:
    """Copy the ledger of a run, also while it is in use. Beside it, xal keeps a copy of its own."""
    from xal.store.directory import open_ledger

    ledger = open_ledger(single_run(run))
    ledger.backup(file)
    ledger.close()
    console.print(f"copied to {file}")


@ledger_app.command("restore")
def ledger_restore(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A copy; by default the one that xal keeps.")
    ] = None,
) -> None:
    """Bring a ledger back from a copy; the one that is there is kept under another name."""
    from xal.store.restore import restore_ledger

    console.print(f"{run}: restored, with {restore_ledger(run, file)} answers")
