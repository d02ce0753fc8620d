"""`xal pool`: make and check pools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from xal.errors import DataError

pool_app = typer.Typer(no_args_is_help=True, help="Make and check pools.")
console = Console(highlight=False, soft_wrap=True)


@pool_app.command("build")
def pool_build(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Image folder, idx files, CSV, JSONL, or Parquet table.")
    ],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The pool: a new folder, or a .parquet file.")],
    files: Annotated[int, typer.Option(min=1, help="Parquet files to spread over.")] = 1,
    id_column: Annotated[str, typer.Option(help="Column of unique ids.")] = "id",
    label_column: Annotated[str, typer.Option(help="Column of labels; '' for none.")] = "label",
    text_column: Annotated[str | None, typer.Option(help="Column of text.")] = None,
    classes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Class folders to take: names, or positions among all, sorted.")
    ] = None,
    per_class: Annotated[int | None, typer.Option(min=1, help="At most so many images of each class folder.")] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=VALUE", help="Only such records of JSON lines.")
    ] = None,
    skip: Annotated[int, typer.Option(min=0, help="Leave out the first so many of each class folder.")] = 0,
    sample: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only N items, drawn at random, always the same.")
    ] = None,
) -> None:
    """Make a pool from raw data; what cannot be used is counted and listed."""
    from xal.core.progress import Reporter
    from xal.data.build.builder import build
    from xal.data.build.image_sources import Subset, read_classes

    subset = None
    if classes is not None or per_class is not None or skip:
        subset = Subset(classes=read_classes(classes) if classes else None, per_class=per_class, skip=skip)
    with Reporter() as reporter:
        made = build(
            source,
            destination,
            files=files,
            id_column=id_column,
            label_column=label_column or None,
            text_column=text_column,
            subset=subset,
            where=dict(_pair(each) for each in where or ()),
            sample=sample,
            progress=reporter.stage("pool build"),
        )
    for name, reason in made.unreadable:
        console.print(f"unreadable: {name}: {reason}", markup=False)
    for name, same in made.duplicates:
        console.print(f"duplicate: {name} is the same as {same}", markup=False)
    for note in made.notes:
        console.print(f"note: {note}", markup=False)
    left_out = f"{len(made.unreadable)} unreadable, {len(made.duplicates)} duplicates"
    console.print(f"{made.written:,} items in {destination}; left out: {left_out}")


def _pair(setting: str) -> tuple[str, str]:
    field, equals, value = setting.partition("=")
    if not equals or not field:
        raise DataError(f"--where {setting}: expected FIELD=VALUE")
    return field, value


@pool_app.command("check")
def pool_check(path: Annotated[Path, typer.Argument(metavar="DST", help="A pool.")]) -> None:
    """Validate a pool; exit code 1 where something is wrong."""
    from xal.core.progress import Reporter
    from xal.data.check import check

    with Reporter() as reporter:
        found = check(path, reporter.stage("pool check"))
    console.print(f"{path}: {found.rows:,} {found.kind} items, {len(found.classes)} classes")
    for name, count in found.label_counts.items():
        console.print(f"  {name}: {count:,}", markup=False)
    if found.missing_labels:
        console.print(f"  without a label: {found.missing_labels:,}")
    for problem in found.problems:
        console.print(f"problem: {problem}", markup=False)
    if not found.ok:
        raise typer.Exit(1)
    console.print("good")


@pool_app.command("decoy")
def pool_decoy(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="An idx file of images, its labels beside it.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The pool: a new folder.")],
    random_shades: Annotated[
        bool, typer.Option("--random", help="Shades that say nothing of the class: a test pool.")
    ] = False,
) -> None:
    """Put a patch into every image whose shade gives the class away, and which does not matter, as the pool says."""
    from xal.core.progress import Reporter
    from xal.datasets.decoy import build_decoy

    with Reporter() as reporter:
        made = build_decoy(source, destination, confounded=not random_shades, progress=reporter.stage("pool decoy"))
    console.print(f"{made:,} items in {destination}")


@pool_app.command("colors")
def pool_colors(
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The pool: a new folder.")],
    rule: Annotated[int, typer.Option(min=0, max=1, help="0: the corners matter; 1: the top middle pixels.")] = 0,
    items: Annotated[int, typer.Option(min=2, help="Images.")] = 4000,
    onehot: Annotated[bool, typer.Option("--onehot", help="100 indicators in place of 25 colours.")] = False,
    skip: Annotated[int, typer.Option(min=0, help="Leave out the first so many, which another pool has.")] = 0,
) -> None:
    """Make the colors data set, of which labels alone cannot tell which of two rules holds."""
    from xal.datasets.colors import build_colors

    made = build_colors(
        destination, items=items, rule=1 if rule else 0, encoding="onehot" if onehot else "codes", skip=skip
    )
    console.print(f"{made:,} items in {destination}")


@pool_app.command("news")
def pool_news(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="JSON lines of split, group, id, text; two groups.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The pool: a new folder.")],
    split: Annotated[str, typer.Option(help="Which of the splits.")] = "train",
) -> None:
    """Take posts of two newsgroups, their content words alone, and which of them matter."""
    from xal.datasets.news import build_news

    made, gold = build_news(source, destination, split)
    console.print(f"{made:,} items in {destination}; {gold:,} words matter")
