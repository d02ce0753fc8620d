"""`xal run`: run a recipe's campaign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xal.cli.options import RecipeFile, Settings, console, parse_seeds, path_option
from xal.cli.status import summary

if TYPE_CHECKING:
    from xal.campaign.recipe import Recipe


def run(
    recipe: RecipeFile,
    out: Annotated[Path | None, path_option("Folder or URL (s3://...) of the runs; by default runs/NAME.")] = None,
    settings: Settings = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds to repeat the campaign with: 0-4, or 0,3,7.")] = None,
    ledger: Annotated[
        str | None,
        typer.Option(help="PostgreSQL URL for ledgers of new runs; by default $XAL_LEDGER, else SQLite."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the recipe, try it on a few items, estimate time and disk, stop.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Run or continue a recipe's campaign, and write a report."""
    from xal.campaign.experiment import run_experiment
    from xal.campaign.recipe import load
    from xal.core.progress import Reporter
    from xal.report.html import write_report
    from xal.store.directory import run_directories

    chosen = parse_seeds(seeds)
    loaded = load(recipe, settings)
    directory = out or Path("runs") / recipe.stem
    if dry_run:
        _dry_run(loaded, directory, len(chosen or loaded.seeds or (loaded.seed,)), quiet)
        return
    with Reporter(quiet=quiet) as reporter:
        outcomes = run_experiment(loaded, directory, reporter, chosen, ledger)
    summary(run_directories(directory), ledger)
    for outcome in outcomes:
        if not outcome.finished:
            batch = outcome.directory / "to-label" / f"round-{outcome.round:03d}"
            console.print(
                f"waiting for {outcome.waiting} labels of round {outcome.round}: fill in the labels in\n"
                f"  {batch / 'batch.csv'}\nthen\n  xal label {outcome.directory} {batch / 'batch.csv'}\n"
                f"  xal run {recipe}{'' if out is None else f' --out {out}'}"
            )
    report_file = write_report(run_directories(directory), directory / "report.html", ledger)
    console.print(f"report: {report_file}")


def _dry_run(loaded: Recipe, directory: Path, n_seeds: int, quiet: bool) -> None:
    from xal.campaign.disk import check_disk, check_scratch
    from xal.campaign.estimate import estimate
    from xal.campaign.trial import try_recipe
    from xal.campaign.validation import checked_pools
    from xal.core.progress import Reporter

    with Reporter(quiet=quiet) as reporter:
        with reporter.step("reading and checking the pools"):
            pools = checked_pools(loaded, reporter.say)
        try_recipe(loaded, pools, reporter)
        with reporter.step("measuring the steps on a few items"):
            estimated = estimate(loaded, pools, n_seeds)
    console.print(str(estimated), markup=False)
    check_scratch(loaded, pools)
    check_disk(estimated.disk_bytes, directory)
    console.print("nothing was written", markup=False)
