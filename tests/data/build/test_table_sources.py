"""Records of JSON lines chosen by a field, and what is relevant in them."""

import json

import pytest

from xal.core import hashed_words
from xal.data.build.builder import build
from xal.data.pool import Pool
from xal.errors import DataError


def test_records_are_chosen(tmp_path) -> None:
    rows = [{"id": str(n), "split": "train" if n % 2 else "test", "text": f"text {n}", "label": "a"} for n in range(6)]
    path = tmp_path / "posts.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    build(path, tmp_path / "pool", where={"split": "train"})
    assert Pool.open(tmp_path / "pool").read_span(0, 3, ["id"])["id"].to_pylist() == ["1", "3", "5"]
    with pytest.raises(DataError, match="holds no JSON object where"):
        build(path, tmp_path / "none", where={"split": "dev"})


def test_what_matters_is_taken_by_name(tmp_path) -> None:
    rows = [
        {"text": "A good plot", "label": "a", "relevant": ["Good"]},
        {"text": "bad, very bad", "label": "b", "relevant": "bad; very"},
        {"text": "nothing here", "label": "b", "relevant": None},
        {"text": "not this one", "label": "a", "relevant": ["elsewhere"]},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    report = build(tmp_path / "a.jsonl", tmp_path / "texts")
    assert [reason for _, reason in report.unreadable] == ["relevance of words that are not there: elsewhere"]
    found = Pool.open(tmp_path / "texts").read_span(0, 3, ["relevant"])["relevant"].to_pylist()
    good, bad, very = (hashed_words.column(word) for word in ("good", "bad", "very"))
    assert found == [[good], sorted([bad, very]), []]
    (tmp_path / "b.csv").write_text("label,text,irrelevant\na,one two,two\nb,three four,\n")
    build(tmp_path / "b.csv", tmp_path / "csv")
    assert Pool.open(tmp_path / "csv").read_span(0, 2, ["irrelevant"])["irrelevant"].to_pylist() == [
        [hashed_words.column("two")],
        [],
    ]
    (tmp_path / "c.csv").write_text("x,y,z,relevant\n1,2,3,z;x\n4,5,6,y\n7,8,9,w\n")
    report = build(tmp_path / "c.csv", tmp_path / "table", label_column=None)
    pool = Pool.open(tmp_path / "table")
    assert pool.names == ("x", "y", "z") and pool.read_span(0, 2, ["relevant"])["relevant"].to_pylist() == [[0, 2], [1]]
    assert [reason for _, reason in report.unreadable] == ["relevance of columns that are not there: w"]
    (tmp_path / "d.csv").write_text("x,relevant\n1,2\n3,4\n")  # a number is a feature, whatever it is called
    build(tmp_path / "d.csv", tmp_path / "plain")
    assert Pool.open(tmp_path / "plain").names == ("x", "relevant")
