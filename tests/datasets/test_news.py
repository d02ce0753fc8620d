"""Newsgroups as CAIPI takes them: bodies, content words, gold words of both signs."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from xal.core import hashed_words
from xal.datasets.news import build_news, content, gold_words
from xal.errors import DataError

POST = """From: someone@example.org
Subject: On gods

I think that the argument is weak.
But god knows.

--
someone  |  a signature
"""


def test_content_is_the_body_without_stop_words_and_signature() -> None:
    assert content(POST) == "think argument weak god knows"
    assert content("no header at all but words") == "header words"


def posts(path: Path) -> Path:
    generator = np.random.default_rng(0)
    lines = []
    for number in range(120):
        group, own = [("alt.atheism", "logic"), ("soc.christian", "prayer")][number % 2]
        fallback = " ".join(f"word{'abcdefghij'[k]}" for k in generator.integers(0, 10, 8))
        lines.append({"split": "train" if number < 80 else "test", "group": group, "id": number,
                      "text": f"From: x\n\n{own} {fallback} item{'abcdefghij'[number % 10]}"})  # fmt: skip
    with gzip.open(path, "wt", encoding="utf-8") as handle:
        handle.writelines(json.dumps(line) + "\n" for line in lines)
    return path


def test_gold_words_of_both_classes(tmp_path: Path) -> None:
    source = posts(tmp_path / "news.jsonl.gz")
    made, gold = build_news(source, tmp_path / "pool", "train")
    assert 70 < made <= 80 and 2 <= gold <= 8
    for row in pq.read_table(tmp_path / "pool" / "part-00000.parquet").to_pylist():
        own, other = ("logic", "prayer") if row["label"] == "alt.atheism" else ("prayer", "logic")
        assert hashed_words.column(own) in row["relevant"] and hashed_words.column(other) not in row["relevant"]
    again, same = build_news(source, tmp_path / "test", "test")
    assert same == gold and again <= 40
    texts = [
        set(pq.read_table(tmp_path / name / "part-00000.parquet")["text"].to_pylist()) for name in ("pool", "test")
    ]
    assert not texts[0] & texts[1]
    with pytest.raises(DataError, match="some of split 'none'"):
        build_news(source, tmp_path / "none", "none")
    (tmp_path / "bad.jsonl").write_text("not json\n")
    with pytest.raises(DataError, match="expected JSON lines"):
        build_news(tmp_path / "bad.jsonl", tmp_path / "none", "train")
    assert not (tmp_path / "none").exists()
    with gzip.open(source, "rt", encoding="utf-8") as handle:
        lines = [json.loads(line) for line in handle]
    for line in lines:  # labels of the test posts are in no word's weight
        if line["split"] == "test":
            line["group"] = {"alt.atheism": "soc.christian", "soc.christian": "alt.atheism"}[line["group"]]
    (tmp_path / "swapped.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    build_news(tmp_path / "swapped.jsonl", tmp_path / "swapped", "train")
    files = [(tmp_path / name / "part-00000.parquet").read_bytes() for name in ("pool", "swapped")]
    assert files[0] == files[1]
    lonely = [line for line in lines if line["split"] == "test" or line["group"] == "alt.atheism"]
    (tmp_path / "lonely.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lonely))
    with pytest.raises(DataError, match="both groups of split 'train'"):
        build_news(tmp_path / "lonely.jsonl", tmp_path / "none", "test")


def test_a_fifth_of_the_words_is_gold() -> None:
    generator = np.random.default_rng(1)
    positive = np.arange(200) % 2 == 0
    texts = [
        " ".join(f"w{k}" for k in generator.choice(100, 12, p=np.roll(np.linspace(1, 2, 100), 50 * good) / 150))
        for good in positive
    ]
    weights = gold_words(texts, positive)
    assert 0.1 <= len(weights) / 100 <= 0.3 and min(weights.values()) < 0 < max(weights.values())
