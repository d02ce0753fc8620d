"""Trees of the Stanford Sentiment Treebank."""

import gzip

from xal.core import hashed_words
from xal.data.build.builder import build
from xal.data.pool import Pool


def test_a_treebank(tmp_path) -> None:
    trees = ["(3 (2 It) (4 (2 's) (4 good)))", "(0 (1 -LRB-) (1 bad))", "no tree"]
    with gzip.open(tmp_path / "train.txt.gz", "wt") as handle:
        handle.write("\n".join(trees) + "\n")
    report = build(tmp_path / "train.txt.gz", tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    table = pool.read_span(0, 2, ["id", "text", "label", "words"]).to_pydict()
    assert table["text"] == ["It 's good", "( bad"] and table["label"] == ["positive", "very negative"]
    assert table["words"][1] == [hashed_words.column("bad")] and len(pool.classes) == 5
    assert [reason for _, reason in report.unreadable] == ["not a tree such as (3 (2 It) (4 works))"]
