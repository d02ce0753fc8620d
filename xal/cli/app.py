"""The command line. A user's mistake ends in one clear message and exit code 2, never in a traceback."""

from __future__ import annotations

import dataclasses
import errno
import importlib
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from xal import __version__
from xal.cli.options import RunPath, console, one, place
from xal.cli.pool import pool_app
from xal.cli.study import study_app
from xal.errors import ConfigError, RunError, XalError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Choose what to label next, see why.",
)
app.add_typer(pool_app, name="pool")
app.add_typer(study_app, name="study")

PLACES = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe (YAML).", show_default=False)]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a field, e.g. train.epochs=5.")
]


@app.command()
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

    chosen = _seeds(seeds)
    if ledger:
        os.environ["XAL_LEDGER"] = ledger  # the report at the end needs the password, too
    loaded = load(recipe, settings)
    directory = out or Path("runs") / recipe.stem
    with Reporter(quiet=quiet) as reporter:
        outcomes = run_experiment(loaded, directory, reporter, chosen)
    report_file = write_report(run_directories(directory), directory / "report.html")
    _summary(run_directories(directory))
    for outcome in outcomes:
        if not outcome.finished:
            batch = outcome.directory / "to-label" / f"round-{outcome.round:03d}"
            console.print(
                f"[bold]waiting for {outcome.waiting} labels[/bold] of round {outcome.round}: fill in the labels in\n"
                f"  {batch / 'batch.csv'}\nthen\n  xal label {outcome.directory} {batch / 'batch.csv'}\n"
                f"  xal run {recipe}{'' if out is None else f' --out {out}'}"
            )
    console.print(f"report: {report_file}")


@app.command()
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
    from xal.engine.ray.submission import follow
    from xal.engine.ray.submission import submit as hand_over

    _seeds(seeds)
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


@app.command(hidden=True)
def job() -> None:
    """What a submitted job runs in its working directory."""
    from xal.campaign.submission import RECIPE, unpack

    out, seeds = unpack(Path.cwd())
    run(recipe=Path(RECIPE), out=out, seeds=seeds)


@app.command()
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
    """Search the settings of explainer and strategy (settings) on Ray Tune, or continue the search; writes a report."""
    from xal.campaign.recipe import load
    from xal.core.progress import Reporter
    from xal.tuning.search import run_search

    loaded = load(recipe, settings)
    directory = out or Path("runs") / f"{recipe.stem}-tune"
    with Reporter(quiet=quiet) as reporter:
        page, best = run_search(loaded, directory, source and one(source), _seeds(seeds) or (0,), reporter)
    if best is None:
        raise RunError(f"every trial failed; {page} says why")
    console.print("best: " + ", ".join(f"{path} = {value}" for path, value in best.items()))
    console.print("      as options: " + " ".join(f"--set {path}={value}" for path, value in best.items()))
    console.print(f"report: {page}")


@app.command()
def status(run: RunPath) -> None:
    """Where runs stand: state, rounds, labels, accuracy."""
    from xal.store.directory import run_directories

    _summary(run_directories(run))


@app.command()
def label(
    run: RunPath,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or JSONL with columns id and label.")],
    annotator: Annotated[str, typer.Option("--by", help="Who labelled.")] = os.environ.get("USER", "file"),
) -> None:
    """Take labels back, in parts if need be; all of the file or nothing."""
    from xal.campaign.import_labels import import_labels

    new, waiting = import_labels(one(run), file, annotator)
    follow = f"waiting for {waiting} more" if waiting else "that is all: xal run goes on"
    console.print(f"{new} new labels taken; {follow}")


@app.command()
def report(
    run: RunPath,
    out: Annotated[Path | None, place("The page; RUN/report.html by default.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write tables and curves here as Markdown and SVG.")] = None,
) -> None:
    """Write one self-contained HTML page on a run, or on all runs in a folder."""
    from xal.report.html import write_report
    from xal.report.markdown import write_markdown
    from xal.store.directory import run_directories

    if markdown is not None:
        command = f"xal report {run} --markdown {markdown}"
        console.print(f"tables: {write_markdown(run_directories(run), markdown, command)}")
        if out is None:
            return
    console.print(f"report: {write_report(run_directories(run), out or run / 'report.html')}")


@app.command()
def results(
    studies: Annotated[Path, typer.Argument(metavar="FILE", help="Studies (YAML): runs, and the papers' figures.")],
    out: Annotated[Path | None, typer.Option(help="The page; FILE with .md by default.")] = None,
) -> None:
    """Write a page on many studies from their runs: tables, curves, the papers' figures, what does not reproduce."""
    from xal.report.reproduction import write_results

    page = out or studies.with_suffix(".md")
    command = f"xal results {studies}" + (f" --out {out}" if out else "")
    console.print(f"results: {write_results(studies, page, command, console.print)}")


@app.command()
def explain(
    run: RunPath,
    image: Annotated[Path | None, typer.Argument(metavar="[IMAGE]", help="An image file.", show_default=False)] = None,
    text: Annotated[str | None, typer.Option(help="A text, of a run on texts.")] = None,
    item: Annotated[str | None, typer.Option(metavar="ID", help="An item of the run's pool.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Picture or page; NAME-why.png, or NAME-why.html, here by default.")
    ] = None,
    of: Annotated[str | None, typer.Option("--class", help="Class to explain; the predicted one by default.")] = None,
    every: Annotated[bool, typer.Option("--every-class", help="Explain all classes, one below the other.")] = False,
) -> None:
    """Explain an image, a text, or an item of the pool by a run's latest model."""
    from xal.campaign.explain import explain_image, explain_item, explain_text

    if sum(given is not None for given in (image, text, item)) != 1:
        raise RunError("explain wants one of an image file, --text and --item")
    if every and of is not None:
        raise RunError("explain wants one of --class and --every-class")
    if image is not None:
        content, line = explain_image(one(run), image, of, every)
    elif text is not None:
        content, line = explain_text(one(run), text, of, every)
    else:
        content, line = explain_item(one(run), item or "", of, every)
    name = "text" if text is not None else re.sub(r"[^\w-]+", "-", image.stem if image else item or "")
    picture = content.startswith(b"\x89PNG")
    destination = out or Path(f"{name}-why.{'png' if picture else 'html'}")
    kinds = (".png",) if picture else (".html", ".htm")
    if destination.suffix.lower() not in kinds:
        raise RunError(f"--out {destination}: a {'picture' if picture else 'page'} is written; end it with {kinds[0]}")
    if image is not None and destination.exists() and destination.samefile(image):
        raise RunError(f"--out {destination} is the image that is explained; choose another")
    destination.parent.mkdir(parents=True, exist_ok=True)
    destination.write_bytes(content)
    console.print(line, markup=False)
    console.print(f"{'picture' if picture else 'page'}: {destination}")


@app.command()
def validate(recipe: RecipeFile, settings: Settings = None) -> None:
    """Check a recipe and its pool without running it."""
    from xal.campaign.recipe import load
    from xal.campaign.validation import checked_pools
    from xal.tuning.objective import checked_search

    loaded = load(recipe, settings)
    pools = checked_pools(loaded)
    if loaded.search is not None:
        checked_search(loaded)
    console.print(
        f"{recipe}: good. {len(pools.pool):,} items, {len(pools.label_space)} classes, {loaded.budget.total} labels, "
        f"arms {', '.join(loaded.strategies)}, engine {loaded.engine.name}"
    )


@app.command("list")
def list_components() -> None:
    """What a recipe can name, with fields and defaults."""
    from xal.annotators.annotator import Annotator
    from xal.campaign.recipe import Budget, PoolSection, Recipe
    from xal.campaign.search_settings import Search
    from xal.encoders import Encoder
    from xal.engine import Engine
    from xal.explainers import Explainer
    from xal.feedback import Feedback
    from xal.models import Model
    from xal.models.train_settings import TrainSettings
    from xal.strategies import Strategy

    importlib.import_module("xal.annotators.simulated")  # registers itself
    sections = {"": Recipe, "pool": PoolSection, "train": TrainSettings, "budget": Budget, "search": Search}
    table = Table(title="sections", title_justify="left", title_style="bold", show_edge=False)
    for column in ("section", "fields"):
        table.add_column(column, overflow="fold")
    for name, section in sections.items():
        own = [field for field in dataclasses.fields(section) if section is not Recipe or field.name not in sections]
        table.add_row(name, ", ".join(map(_field, own)))
    console.print(table)
    console.print()
    families: list[Any] = [Strategy, Explainer, Model, Encoder, Annotator, Feedback, Engine]
    for family in families:
        table = Table(title=family.family, title_justify="left", title_style="bold", show_edge=False)
        for column in ("name", "what", "fields"):
            table.add_column(column, overflow="fold")
        for name, found in sorted(family.registry.items()):
            fields = ", ".join(_field(field) for field in dataclasses.fields(found))
            table.add_row(name, (found.__doc__ or "").strip().splitlines()[0], fields)
        console.print(table)
        console.print()


@app.command()
def version() -> None:
    """Print the version."""
    console.print(__version__)


def main() -> None:
    """Entry point of `xal`."""
    try:
        app()
    except XalError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            print(f"error: no space is left ({error}); free some and run again", file=sys.stderr)
        elif error.filename is not None and isinstance(error, PLACES):
            print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        else:
            raise
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as ended:  # typer makes the latter of most of the former
        cause = getattr(ended.__context__, "__cause__", None)
        if not isinstance(ended, KeyboardInterrupt) and not isinstance(cause, KeyboardInterrupt):
            raise
        print("stopped; the same `xal run` or `xal tune` continues where it stood", file=sys.stderr)
        sys.exit(130)


def _seeds(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        seeds: list[int] = []
        for part in text.split(","):
            first, dash, last = part.partition("-")
            seeds += range(int(first), int(last) + 1) if dash else [int(first)]
    except ValueError:
        seeds = []
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError([f"--seeds {text}: expected distinct seeds such as 0-4 or 0,3,7"], "command line")
    return tuple(seeds)


def _field(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"{field.name}={field.default!r}"
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
        return f"{field.name}={getattr(default, 'name', default)}"
    return field.name


def _summary(directories: list[Path]) -> None:
    from xal.store.run import read_run

    table = Table(show_edge=False)
    for column in ("run", "state", "labels", "accuracy by round"):
        table.add_column(column, overflow="fold")
    for directory in directories:
        found = read_run(directory)
        labels = sum(item.label is not None for item in found.queried)
        table.add_row(directory.name, found.state, str(labels), " ".join(f"{value:.3f}" for value in found.curve()[1]))
    console.print(table)


if __name__ == "__main__":
    main()
