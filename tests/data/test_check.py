"""Checking: each fault is found, counted and named; a sound pool is ok."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xal.data.check import check
from xal.data.images import encode_png
from xal.errors import DataError

WHOLE = encode_png(np.random.default_rng(0).integers(0, 256, (1, 20, 20), dtype=np.uint8))


def write(path, columns, classes=None, row_group_size=2):
    made = pa.table(columns)
    if classes is not None:
        made = made.replace_schema_metadata({b"xal": json.dumps({"classes": classes})})
    pq.write_table(made, path, row_group_size=row_group_size)
    return path


def test_a_sound_pool(tmp_path):
    columns = {"id": ["a", "b", "c"], "image": [WHOLE] * 3, "label": ["y", "y", "x"]}
    calls = []
    report = check(
        write(tmp_path / "p.parquet", columns, ["y", "x", "z"]), lambda done, total: calls.append((done, total))
    )
    assert report.ok and report.problems == ()
    assert (report.rows, report.kind, report.classes) == (3, "image", ("y", "x", "z"))
    assert list(report.label_counts.items()) == [("y", 2), ("x", 1)]
    assert calls == [(3, 3)]


def test_ids(tmp_path):
    columns = {"id": ["b", "a", "b", None, "", "a", "b", "c"], "text": ["t"] * 8}
    report = check(write(tmp_path / "p.parquet", columns))
    assert report.duplicate_ids == ("b", "a") and report.null_ids == 2 and not report.ok
    assert report.problems == ("2 rows have no id", "2 ids come more than once: b, a")


def test_labels(tmp_path):
    columns = {"id": list("abcde"), "text": ["t"] * 5, "label": ["x", None, " ", "odd", "x"]}
    report = check(write(tmp_path / "p.parquet", columns, ["x"]))
    assert report.missing_labels == 2 and report.unknown_labels == ("odd",) and not report.ok
    assert report.label_counts == {"x": 2, "odd": 1}
    columns["label"][3] = "x"
    report = check(write(tmp_path / "p.parquet", columns, ["x"]))
    assert report.missing_labels == 2 and report.ok


def test_images(tmp_path):
    columns = {"id": list("abcd") + [None], "image": [WHOLE, WHOLE[:99], None, b"no image", b"x"]}
    report = check(write(tmp_path / "p.parquet", columns))
    assert [identity for identity, _ in report.unreadable] == ["b", "c", "d", "row 4"]
    assert all(reason for _, reason in report.unreadable) and not report.ok


def test_texts(tmp_path):
    report = check(write(tmp_path / "p.parquet", {"id": list("abc"), "text": ["t", " ", None]}))
    assert report.unreadable == (("b", "the text is blank"), ("c", "the text is blank")) and not report.ok


def test_features(tmp_path):
    rows = [[0, 1], [0, float("nan")], [float("inf"), 0], None, [None, 1], [2, 3]]
    columns = {"id": list("abcdef"), "features": pa.array(rows, pa.list_(pa.float32(), 2))}
    for row_group_size in (1, 2, 6):
        report = check(write(tmp_path / "p.parquet", columns, row_group_size=row_group_size))
        assert [identity for identity, _ in report.unreadable] == list("bcde") and not report.ok


def test_many_faults_are_not_all_spelt_out(tmp_path):
    report = check(write(tmp_path / "p.parquet", {"id": [f"i{n}" for n in range(9)], "text": [""] * 9}))
    assert len(report.unreadable) == 9 and report.problems[0].endswith("and 4 more")


def test_no_pool(tmp_path):
    with pytest.raises(DataError, match="no pool at"):
        check(tmp_path / "nowhere")
