"""`xal tune`: search settings of the explainer and the strategy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xal.cli.options import RecipeFile, Settings, console, parse_seeds, single_run
from xal.errors import RunError


def tune(
    recipe: RecipeFile,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the search; default runs/NAME-tune.")
    ] = None,
    settings: Settings = None,
    source: Annotated[Path | None, typer.Option("--from", metavar="RUN", help="Run whose labels are replayed.")] = None,
    seeds: Annotated[str, typer.Option(help="Paired seeds for the comparison with the default.")] = "0-4",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Search settings of the explainer and the strategy with Ray Tune, or resume a search, and write a report."""
    from xal.campaign.recipe import load
    from xal.core.progress import Reporter
    from xal.tuning.search import run_search

    loaded = load(recipe, settings)
    directory = out or Path("runs") / f"{recipe.stem}-tune"
    with Reporter(quiet=quiet) as reporter:
        page, best = run_search(loaded, directory, source and single_run(source), parse_seeds(seeds) or (0,), reporter)
    if best is None:
        raise RunError(f"every trial failed; see the reasons in {page}")
    console.print("best: " + ", ".join(f"{path} = {value}" for path, value in best.items()))
    console.print("      as options: " + " ".join(f"--set {path}={value}" for path, value in best.items()))
    console.print(f"report: {page}")
