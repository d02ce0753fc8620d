"""`xal run`: a recipe's campaign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xal.cli.options import RecipeFile, Settings, console, parse_seeds, place
from xal.cli.status import summary


def run(
    recipe: RecipeFile,
    out: Annotated[Path | None, place("Where runs go, a path or a URL (s3://...); runs/NAME by default.")] = None,
    settings: Settings = None,
    seeds: Annotated[str | None, typer.Option(help="Repeat with seeds: 0-4, or 0,3,7.")] = None,
    ledger: Annotated[
        str | None, typer.Option(help="PostgreSQL URL of new runs' ledgers; $XAL_LEDGER, else SQLite in each run.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Run a recipe's campaign, or continue it; writes a report at the end."""
    from xal.campaign.experiment import run_experiment
    from xal.campaign.recipe import load
    from xal.core.progress import Reporter
    from xal.report.html import write_report
    from xal.store.directory import run_directories

    chosen = parse_seeds(seeds)
    loaded = load(recipe, settings)
    directory = out or Path("runs") / recipe.stem
    with Reporter(quiet=quiet) as reporter:
        outcomes = run_experiment(loaded, directory, reporter, chosen, ledger)
    report_file = write_report(run_directories(directory), directory / "report.html", ledger)
    summary(run_directories(directory), ledger)
    for outcome in outcomes:
        if not outcome.finished:
            batch = outcome.directory / "to-label" / f"round-{outcome.round:03d}"
            console.print(
                f"[bold]waiting for {outcome.waiting} labels[/bold] of round {outcome.round}: fill in the labels in\n"
                f"  {batch / 'batch.csv'}\nthen\n  xal label {outcome.directory} {batch / 'batch.csv'}\n"
                f"  xal run {recipe}{'' if out is None else f' --out {out}'}"
            )
    console.print(f"report: {report_file}")
