"""A batch as files for people."""

import csv
from pathlib import Path

from tests.recipes import QUIET, text_recipe
from xal.campaign.experiment import run_experiment
from xal.data.pool import Pool


def test_a_batch_of_texts_is_annotated(tmp_path: Path, text_pools: tuple[Path, Path]) -> None:
    given = text_recipe(
        *text_pools, arms={"alex": "alex"}, annotator="file", budget={"initial": 10, "per_round": 5, "rounds": 1}
    )
    run_experiment(given, tmp_path / "runs", QUIET)
    folder = tmp_path / "runs" / "alex-seed0" / "to-label" / "round-000"
    rows = list(csv.DictReader((folder / "batch.csv").open(encoding="utf-8")))
    texts = dict(zip(*Pool.open(text_pools[0]).read_span(0, 200, ["id", "text"]).to_pydict().values(), strict=True))
    assert len(rows) == 10 and all(texts[row["id"]] == row["text"] for row in rows)
