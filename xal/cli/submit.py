"""`xal submit`: the same as a job on a Ray cluster; `xal job` is what the job runs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from xal.cli.options import RecipeFile, Settings, console, parse_seeds, place
from xal.core.extras import require
from xal.errors import RunError


def submit(
    recipe: RecipeFile,
    address: Annotated[str, typer.Option(help="The cluster's dashboard, http://HOST:8265.")],
    out: Annotated[Path, place("Where runs go: a URL, or an absolute path that all nodes see.")],
    settings: Settings = None,
    seeds: Annotated[str | None, typer.Option(help="Repeat with seeds: 0-4, or 0,3,7.")] = None,
    files: Annotated[
        list[Path] | None, typer.Option("--with", metavar="PATH", help="A module or folder that the recipe names.")
    ] = None,
    cpus: Annotated[float, typer.Option(min=0, help="CPUs of the campaign's own process; 0: it runs on the head.")] = 0,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Do not follow the log.")] = False,
) -> None:
    """Run a recipe on a Ray cluster as a job, which goes on when this command ends."""
    from xal.campaign.submission import pack

    require("ray", "ray", "xal submit")
    from xal.engine.ray.submission import follow
    from xal.engine.ray.submission import submit as hand_over

    parse_seeds(seeds)
    with tempfile.TemporaryDirectory() as scratch:
        pack(Path(scratch), recipe, out, settings, seeds, files or [])
        identity = hand_over(Path(scratch), address, cpus)
    console.print(
        f"job {identity}; it goes on without this command\n"
        f"  state  xal status {out}\n"
        f"  log    ray job logs --follow {identity} --address {address}\n"
        f"  stop   ray job stop {identity} --address {address}"
    )
    if detach:
        return
    try:
        succeeded = follow(identity, address, lambda lines: console.print(lines, end="", markup=False))
    except KeyboardInterrupt:
        console.print("\nthe job goes on")
        raise typer.Exit(130) from None
    if not succeeded:
        raise RunError(f"job {identity} did not succeed; its log is above, and the same command continues the run")


def job() -> None:
    """What a submitted job runs in its working directory."""
    from xal.campaign.submission import RECIPE, unpack

    out, seeds = unpack(Path.cwd())
    from xal.cli.run import run

    run(recipe=Path(RECIPE), out=out, seeds=seeds)
