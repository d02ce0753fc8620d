"""Shared by the benchmarks: options, timing, tables, and measures as a flat JSON object."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser with `--json` and `--repeats`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measures as one flat JSON object")
    parser.add_argument("--repeats", type=int, default=7, help="timed repeats; medians are reported")
    return parser


def seconds(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each call after a warm-up. Calls alternate, so that other load affects all of them."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(repeats + 1):
        for name, call in calls.items():
            started = perf_counter()
            call()
            if repeat:
                times[name].append(perf_counter() - started)
    return {name: median(values) for name, values in times.items()}


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table with the first column left-aligned and the others right-aligned."""
    cells = [list(columns), *[_texts(row) for row in rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print(f"\n{title}")
    for number, row in enumerate(cells):
        line = "  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        print(line.rstrip())
        if not number:
            print("  ".join("-" * width for width in widths))


def markdown(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The table of `show` as Markdown."""
    cells = [list(columns), ["---", *["---:"] * (len(columns) - 1)], *[_texts(row) for row in rows]]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def _texts(row: Sequence[object]) -> list[str]:
    return [f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row]


def write(path: Path | None, measures: dict[str, float]) -> None:
    """Print the measures, and write them to `path` unless it is None."""
    for name, value in measures.items():
        print(f"{name} = {value:.4g}")
    if path is not None:
        path.write_text(json.dumps(measures, indent=2) + "\n", encoding="utf-8")
