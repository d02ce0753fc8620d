"""A comparison of arms as Markdown, for a project's docs: tables by this program, words by people.

What stands in the file after the line KEPT is left as it is when the tables are written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xal.errors import RunError
from xal.report.figures import learning_curves
from xal.report.page import arms_of, comparison
from xal.report.runs import read_run

KEPT = "<!-- what follows is kept when this file is written again -->"


def write_markdown(directories: Sequence[Path], destination: Path, command: str) -> Path:
    """Write the accuracy by labels spent, and the learning curves beside it as SVG; `command` made it.

    Raises RunError for a file that this did not write.
    """
    arms = arms_of([read_run(path) for path in directories])
    table = comparison(arms)
    figure = destination.with_suffix(".svg")
    recipe = next(iter(arms.values()))[0].recipe
    seeds = sorted({run.seed for runs in arms.values() for run in runs})
    header = ["accuracy after", *map(str, table["labels"]), "mean over the curve", "against random, paired"]
    rows = [[row["arm"], *row["cells"], row["area"], row["difference"]] for row in table["rows"]]
    lines = [
        f"# {destination.stem}",
        "",
        f"Written by `{command}`: {len(arms)} arms, seeds {', '.join(map(str, seeds))}, model "
        f"`{recipe['model']['name']}`, pool `{recipe['pool']['source']}`. Means ± half the 95% interval over the seeds "
        "(Student's t); differences are of the mean over the curve, paired by seed.",
        "",
        f"![learning curves]({figure.name})",
        "",
        f"| {' | '.join(header)} |",
        f"| --- |{' ---: |' * (len(header) - 1)}",
        *[f"| {' | '.join(cells)} |" for cells in rows],
        "",
        KEPT,
    ]
    kept = ""
    if destination.exists():
        _, marker, kept = destination.read_text(encoding="utf-8").partition(KEPT)
        if not marker:
            raise RunError(f"{destination} was not written by `xal report`, it has no line {KEPT}; choose another name")
        kept = kept.lstrip("\n")
    destination.parent.mkdir(parents=True, exist_ok=True)
    destination.write_text("\n".join(lines) + "\n" + (f"\n{kept}" if kept else ""), encoding="utf-8")
    figure.write_text(learning_curves(arms, "accuracy") + "\n", encoding="utf-8")
    return destination
