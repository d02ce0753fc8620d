"""A comparison of arms as Markdown, for a project's docs.

When the file is written again, the text after the line KEPT stays unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xal.errors import RunError
from xal.evaluation.curves import comparison
from xal.report.figures import learning_curves
from xal.report.html import arms_of, curves_of, measures_of
from xal.store.run import read_run

KEPT = "<!-- what follows is kept when this file is written again -->"


def write_markdown(directories: Sequence[Path], destination: Path, command: str) -> Path:
    """Write tables of accuracy and macro F1 by labels spent, and the learning curves beside them as SVG.

    command: the command line that the page names. Raises RunError if the file exists and was not written by this
    function.
    """
    arms = arms_of([read_run(path) for path in directories])
    runs = [run for group in arms.values() for run in group]
    figure = destination.with_suffix(".svg")
    recipe = runs[0].recipe
    seeds = sorted({run.seed for run in runs})
    lines = [
        f"# {destination.stem}",
        "",
        f"Written by `{command}`: {len(arms)} arms, seeds {', '.join(map(str, seeds))}, model "
        f"`{recipe['model']['name']}`, pool `{recipe['pool']['source']}`. Means ± half the 95% interval over the seeds "
        "(Student's t); differences are of the mean over the curve, paired by seed; below random: share of all rounds "
        "after the first, over the seeds.",
        "",
        f"![learning curves]({figure.name})",
        "",
    ]
    for measure in measures_of(runs):
        table = comparison(curves_of(arms, measure))
        name = measure.replace("macro_f1", "macro F1")
        header = [f"{name} after", *map(str, table["labels"]), "mean over the curve", "against random, paired"]
        header.append("below random")
        rows = [[row["arm"], *row["cells"], row["area"], row["difference"], row["below"]] for row in table["rows"]]
        lines += [*table_lines(header, rows), ""]
    lines.append(KEPT)
    kept = ""
    if destination.exists():
        _, marker, kept = destination.read_text(encoding="utf-8").partition(KEPT)
        if not marker:
            raise RunError(f"{destination} was not written by `xal report`: it has no line {KEPT}; choose another name")
        kept = kept.lstrip("\n")
    destination.parent.mkdir(parents=True, exist_ok=True)
    destination.write_text("\n".join(lines) + "\n" + (f"\n{kept}" if kept else ""), encoding="utf-8")
    figure.write_text(learning_curves(curves_of(arms, "accuracy"), "accuracy") + "\n", encoding="utf-8")
    return destination


def table_lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table; none if it has no rows."""
    if not rows:
        return []
    rule = f"| --- |{' ---: |' * (len(header) - 1)}"
    first, *others = (f"| {' | '.join(cells)} |" for cells in [header, *rows])
    return [first, rule, *others]
