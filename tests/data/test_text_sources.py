"""Trees of SST, and records of JSON lines chosen by a field."""

import gzip
import json

import pytest

from xal import words
from xal.data.build import build
from xal.data.pool import Pool
from xal.errors import DataError


def test_a_treebank(tmp_path) -> None:
    trees = ["(3 (2 It) (4 (2 's) (4 good)))", "(0 (1 -LRB-) (1 bad))", "no tree"]
    with gzip.open(tmp_path / "train.txt.gz", "wt") as handle:
        handle.write("\n".join(trees) + "\n")
    report = build(tmp_path / "train.txt.gz", tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    table = pool.read_span(0, 2, ["id", "text", "label", "words"]).to_pydict()
    assert table["text"] == ["It 's good", "( bad"] and table["label"] == ["positive", "very negative"]
    assert table["words"][1] == [words.column("bad")] and len(pool.classes) == 5
    assert [why for _, why in report.unreadable] == ["not a tree such as (3 (2 It) (4 works))"]


def test_records_are_chosen(tmp_path) -> None:
    rows = [{"id": str(n), "split": "train" if n % 2 else "test", "text": f"text {n}", "label": "a"} for n in range(6)]
    path = tmp_path / "posts.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    build(path, tmp_path / "pool", where={"split": "train"})
    assert Pool.open(tmp_path / "pool").read_span(0, 3, ["id"])["id"].to_pylist() == ["1", "3", "5"]
    with pytest.raises(DataError, match="holds no JSON object where"):
        build(path, tmp_path / "none", where={"split": "dev"})
