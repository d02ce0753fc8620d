"""`xal tune`: search the settings of explainer and strategy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xal.cli.options import RecipeFile, Settings, console, one, parse_seeds
from xal.errors import RunError


def tune(
    recipe: RecipeFile,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where it goes; runs/NAME-tune by default.")] = None,
    settings: Settings = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="RUN", help="The run whose labels are replayed.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Paired seeds of the comparison with the default.")] = "0-4",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Search the settings of explainer and strategy on Ray Tune, or continue the search; writes a report."""
    from xal.campaign.recipe import load
    from xal.core.progress import Reporter
    from xal.tuning.search import run_search

    loaded = load(recipe, settings)
    directory = out or Path("runs") / f"{recipe.stem}-tune"
    with Reporter(quiet=quiet) as reporter:
        page, best = run_search(loaded, directory, source and one(source), parse_seeds(seeds) or (0,), reporter)
    if best is None:
        raise RunError(f"every trial failed; {page} says why")
    console.print("best: " + ", ".join(f"{path} = {value}" for path, value in best.items()))
    console.print("      as options: " + " ".join(f"--set {path}={value}" for path, value in best.items()))
    console.print(f"report: {page}")
