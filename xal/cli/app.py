"""The `xal` command. A user's mistake gives one clear message and exit code 2, never a traceback."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from xal.cli.classes import classes
from xal.cli.components import list_components
from xal.cli.embed import embed
from xal.cli.explain import explain
from xal.cli.export import export
from xal.cli.fork import fork
from xal.cli.init import init
from xal.cli.label import label
from xal.cli.ledger import ledger_app
from xal.cli.options import console
from xal.cli.pool import pool_app
from xal.cli.report import report
from xal.cli.results import results
from xal.cli.run import run
from xal.cli.status import status
from xal.cli.study import study_app
from xal.cli.submit import job, submit
from xal.cli.tune import tune
from xal.cli.validate import validate
from xal.core.failures import known_error
from xal.core.imports import allow
from xal.core.interrupts import Terminated, ignore_interrupts, interrupt_behind, terminate_like_ctrl_c
from xal.core.version import __version__

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    init, validate, embed, run, status, label, classes, fork, report, explain, export, tune, results, submit
):  # fmt: skip
    app.command()(command)
app.command(hidden=True)(job)
app.command("list")(list_components)
app.add_typer(pool_app, name="pool")
app.add_typer(study_app, name="study")
app.add_typer(ledger_app, name="ledger")


@app.callback()
def options(
    modules: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="MODULE", help="A module of your own that a run's recipe may name; repeatable."),
    ] = None,
) -> None:
    """Choose what to label next, see why."""
    allow(modules or ())


@app.command()
def version() -> None:
    """Print the version."""
    console.print(__version__)


def main() -> None:
    """Entry point of `xal`: runs the command and reports errors."""
    terminate_like_ctrl_c()
    try:
        app()
    except BaseException as error:
        interrupt = interrupt_behind(error)
        if interrupt is not None:
            ignore_interrupts()
            print("stopped; repeat the same `xal run` or `xal tune` command to continue", file=sys.stderr)
            sys.exit(143 if isinstance(interrupt, Terminated) else 130)
        known = known_error(error) if isinstance(error, Exception) else None
        if known is None:
            raise
        print(f"error: {known}", file=sys.stderr)
        sys.exit(2)
