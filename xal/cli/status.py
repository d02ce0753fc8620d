"""`xal status`: the state of runs."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from xal.cli.options import RunPath, console

ADVISED = 6  # runs whose forecasts are said


def status(run: RunPath) -> None:
    """Show the state, labels and accuracy of runs."""
    from xal.store.directory import run_directories

    summary(run_directories(run))


def summary(directories: list[Path], ledger: str | None = None) -> None:
    """Print a table of runs. `ledger`: URL of their PostgreSQL ledgers, for the password."""
    from xal.campaign.advice import advice
    from xal.store.run import read_run

    said = []
    table = Table(show_edge=False)
    for column in ("run", "state", "labels", "accuracy by round"):
        table.add_column(column, overflow="fold")
    for directory in directories:
        run = read_run(directory, ledger)
        if len(directories) <= ADVISED:
            said += [f"{directory.name}: {line}" for line in advice(run)]
        labels = sum(item.label is not None for item in run.queried)
        table.add_row(directory.name, run.state, str(labels), " ".join(f"{value:.3f}" for value in run.curve()[1]))
    console.print(table)
    for line in said:
        console.print(line, markup=False, highlight=False)
