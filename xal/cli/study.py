"""`xal study`: study what the models of runs have learned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from xal.cli.options import RunPath, console, path_option, single_run
from xal.errors import RunError

study_app = typer.Typer(no_args_is_help=True, help="Study what the models of runs have learned.")


@study_app.command("ebano")
def study_ebano(
    run: RunPath,
    items: Annotated[int, typer.Option(min=2, help="Maximum number of images to explain.")] = 1000,
    out: Annotated[Path | None, path_option("Folder of the pictures; by default RUN/study-ebano.")] = None,
    of: Annotated[list[str] | None, typer.Option("--class", help="Class to explain globally; by default all.")] = None,
) -> None:
    """EBAnO's indices on labelled images: distributions, relation to confidence, and global explanations of classes."""
    from xal.campaign.explained_images import explain_labelled
    from xal.campaign.trained_run import open_trained_run
    from xal.core.progress import Reporter
    from xal.core.registry import nearest
    from xal.report.ebano_study import write_study

    directory = single_run(run)
    trained = open_trained_run(directory)
    if trained.explainer.space != "ebano":
        raise RunError(f"{directory} has the explainer '{trained.explainer.name}'; this study needs ebano")
    classes = trained.label_space.classes
    for name in of or ():
        if name not in classes:
            raise RunError(f"--class: '{name}' is not a class{nearest(name, classes)}")
    with Reporter() as reporter:
        explained = explain_labelled(directory, items, reporter.stage)
    folder = out or directory / "study-ebano"
    indices = write_study(explained, folder, of)
    console.print(f"{int(indices['items'])} images of {explained.on}, model of round {explained.round}:")
    table = Table(show_edge=False)
    for column in ("fmax", "median, right", "median, wrong", "larger if right", "correlation with confidence"):
        table.add_column(column, justify="left" if column == "fmax" else "right")
    for key, name in (("npir", "nPIR"), ("npirp", "nPIRP")):
        statistics = ("median_right", "median_wrong", "larger_if_right", "confidence_correlation")
        table.add_row(name, *(f"{indices[f'{key}_{statistic}']:.3f}" for statistic in statistics))
    console.print(table)
    console.print(f"pictures: {folder}")


@study_app.command("maps")
def study_maps(
    run: RunPath,
    items: Annotated[int, typer.Option(min=2, help="Maximum number of images to explain per model.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the runs to use.")] = 0,
    out: Annotated[Path | None, path_option("Picture to write; by default RUN/maps.png.")] = None,
) -> None:
    """Draw the mean explanation of each class, a row for each arm."""
    from xal.report.maps import write_maps

    console.print(f"picture: {write_maps(_explained(run, items, seed), out or run / 'maps.png')}")


@study_app.command("reasons")
def study_reasons(
    run: RunPath,
    items: Annotated[int, typer.Option(min=2, help="Maximum number of images to explain per model.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the runs to use.")] = 0,
    out: Annotated[Path | None, path_option("Picture to write; by default RUN/reasons.png.")] = None,
) -> None:
    """Draw heat maps and the attribution on irrelevant pixels, a row for each arm; needs a test pool with relevance."""
    from xal.report.reasons import write_reasons

    picture, shares = write_reasons(_explained(run, items, seed), out or run / "reasons.png")
    for arm, share in shares.items():
        console.print(f"{arm}: {share:.2%} of the attribution is on irrelevant pixels")
    console.print(f"picture: {picture}")


@study_app.command("lime")
def study_lime(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs with the model senn.", show_default=False)],
    samples: Annotated[str, typer.Option(help="Numbers of coalitions per item.")] = "100,1000",
    repeats: Annotated[str, typer.Option(help="Numbers of fits to average.")] = "1,5",
    items: Annotated[int, typer.Option(min=2, help="Maximum number of items to explain.")] = 100,
    k: Annotated[int, typer.Option(min=1, help="Number of top features to compare.")] = 5,
    out: Annotated[Path | None, path_option("Markdown file to write the table to.")] = None,
) -> None:
    """Compare LIME with the exact explanations of self-explaining networks: recall at k, spread over seeds, time."""
    from xal.campaign.lime_fidelity import against_exact
    from xal.report.markdown import table_lines

    header = [
        "run",
        "epochs",
        "samples",
        "repeats",
        f"recall at {k}",
        "spread",
        "LIME, ms an item",
        "exact, ms an item",
    ]
    rows = []
    for run in runs:
        for row in against_exact(single_run(run), _numbers(samples), _numbers(repeats), items, k):
            measures = [f"{row.recall:.3f}", f"{row.spread:.3f}", f"{row.ms:.2f}", f"{row.exact_ms:.4f}"]
            rows.append([run.name, str(row.epochs), str(row.samples), str(row.repeats), *measures])
    table = Table(show_edge=False)
    for column in header:
        table.add_column(column, justify="right")
    for cells in rows:
        table.add_row(*cells)
    console.print(table)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("\n".join(table_lines(header, rows)) + "\n", encoding="utf-8")


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise RunError(f"expected positive integers such as 100,1000, got '{text}'")
    return numbers


@study_app.command("rules")
def study_rules(
    run: RunPath,
    out: Annotated[Path | None, path_option("Figure (SVG) to write; by default RUN/rules.svg.")] = None,
) -> None:
    """Show which rule linear models on the colors data learned, and the F1 of their explanations by query."""
    from xal.report.html import arms_of
    from xal.report.rules import write_rules
    from xal.store.directory import run_directories
    from xal.store.run import read_run

    arms = arms_of([read_run(directory) for directory in run_directories(run)])
    figure, rows = write_rules(arms, out or run / "rules.svg")
    table = Table(show_edge=False)
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*map(str, row.values()))
    console.print(table)
    console.print(f"figure: {figure}")


def _explained(path: Path, items: int, seed: int) -> dict[str, Any]:
    """Images explained by the runs of a seed, by arm."""
    from xal.campaign.explained_images import explain_labelled
    from xal.core.progress import Reporter
    from xal.store.directory import run_directories
    from xal.store.run import read_run

    runs = [read_run(directory) for directory in run_directories(path)]
    directory_of = {run.arm: run.directory for run in runs if run.seed == seed}
    if not directory_of:
        raise RunError(f"{path} has no run with seed {seed}; choose one of {sorted({run.seed for run in runs})}")
    with Reporter() as reporter:
        return {arm: explain_labelled(directory, items, reporter.stage) for arm, directory in directory_of.items()}
