"""`xal submit`: run a recipe as a job on a Ray cluster, which runs `xal job` there."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from xal.cli.options import RecipeFile, Settings, console, parse_seeds, path_option
from xal.core.extras import require
from xal.errors import RunError


def submit(
    recipe: RecipeFile,
    address: Annotated[str, typer.Option(help="Address of the cluster's dashboard, http://HOST:8265.")],
    out: Annotated[Path, path_option("Folder of the runs: a URL, or an absolute path that all nodes see.")],
    settings: Settings = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds to repeat the campaign with: 0-4, or 0,3,7.")] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("--with", metavar="PATH", help="Module or folder that the recipe needs."),
    ] = None,
    cpus: Annotated[float, typer.Option(min=0, help="CPUs of the campaign's process; 0: on the head node.")] = 0,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Do not follow the log.")] = False,
) -> None:
    """Run a recipe as a job on a Ray cluster. The job continues when this command ends."""
    from xal.campaign.submission import pack

    require("ray", "ray", "xal submit")
    from xal.engine.ray.submission import follow
    from xal.engine.ray.submission import submit as submit_job

    parse_seeds(seeds)
    with tempfile.TemporaryDirectory() as scratch:
        pack(Path(scratch), recipe, out, settings, seeds, files or [])
        identity = submit_job(Path(scratch), address, cpus)
    console.print(
        f"job {identity}; it continues without this command\n"
        f"  state  xal status {out}\n"
        f"  log    ray job logs --follow {identity} --address {address}\n"
        f"  stop   ray job stop {identity} --address {address}"
    )
    if detach:
        return
    try:
        succeeded = follow(identity, address, lambda lines: console.print(lines, end=""))
    except KeyboardInterrupt:
        console.print("\nthe job continues")
        raise typer.Exit(130) from None
    if not succeeded:
        raise RunError(f"job {identity} failed; see its log above, and repeat this command to continue the run")


def job() -> None:
    """Run a submitted recipe in the working directory of its job."""
    from xal.campaign.submission import RECIPE, unpack

    out, seeds = unpack(Path.cwd())
    from xal.cli.run import run

    run(recipe=Path(RECIPE), out=out, seeds=seeds)
