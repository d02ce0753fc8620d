"""Pools: rows exactly as a plain full read gives them, no more row groups read than needed, every error."""

import io
import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from xal.data.pool import Pool, as_matrix
from xal.errors import DataError

GROUP = 7


def table(first: int, rows: int) -> pa.Table:
    numbers = np.arange(first, first + rows)
    features = pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(numbers, 3).astype(np.float32)), 3)
    labels = [None if n % 5 == 4 else ["cat", "ant", "bee", " "][n % 4] for n in numbers]
    return pa.table(
        {
            "id": pa.array([f"i{n}" for n in numbers], pa.string()),
            "features": features,
            "label": pa.array(labels, pa.string()),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pool")
    for name, first, rows in (("b", 20, 33), ("a", 0, 20), ("c", 53, 0), ("d", 53, 8)):
        pq.write_table(table(first, rows), path / f"{name}.parquet", row_group_size=GROUP)
    return path


@pytest.fixture(scope="module")
def pool(folder):
    return Pool.open(folder)


def write(path, columns, metadata=None):
    made = pa.table(columns)
    if metadata is not None:
        made = made.replace_schema_metadata({b"xal": metadata})
    pq.write_table(made, path)
    return path


TEXT = {"id": ["a", "b"], "text": ["x", "y"]}


def test_open(pool):
    assert len(pool) == 61
    assert (pool.kind, pool.classes, pool.has_labels) == ("features", ("ant", "bee", "cat"), True)
    assert pool.files == ("a.parquet", "b.parquet", "c.parquet", "d.parquet")
    assert (pool.groups[0], pool.groups[1], pool.groups[3]) == ((7, 7, 6), (7, 7, 7, 7, 5), (7, 1))
    assert sum(pool.groups[2]) == 0  # a file without rows may have a row group without rows
    assert np.unique(pool.offsets).tolist() == [0, 7, 14, 20, 27, 34, 41, 48, 53, 60, 61]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.integers(0, 60), max_size=40))
def test_read_equals_a_full_read(pool, rows):
    rows = sorted(rows)
    got = pool.read(np.array(rows, np.int64), ["label", "id", "features"])
    assert got.column_names == ["label", "id", "features"]
    whole = table(0, 61).select(["label", "id", "features"]).to_pylist()
    assert got.to_pylist() == [whole[row] for row in rows]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(span=st.tuples(st.integers(0, 61), st.integers(0, 61)))
def test_read_span_equals_a_slice(pool, span):
    start, stop = sorted(span)
    assert pool.read_span(start, stop, ["id", "features"]).to_pylist() == (
        table(0, 61).select(["id", "features"]).slice(start, stop - start).to_pylist()
    )


def test_only_the_row_groups_and_columns_needed_are_read(pool, monkeypatch):
    calls = []
    plain = pq.ParquetFile.read_row_groups

    def watched(self, groups, columns, **options):
        calls.append((groups, columns))
        return plain(self, groups, columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", watched)
    for forbidden in ("read", "read_row_group", "iter_batches"):
        monkeypatch.setattr(pq.ParquetFile, forbidden, lambda *_, **__: pytest.fail("reads more than its row groups"))
    pool.read(np.array([0, 3, 6, 34, 60]), ["id"])  # row 34 starts the third group of b, 60 is the second of d
    assert calls == [([0], ["id"]), ([2], ["id"]), ([1], ["id"])]
    calls.clear()
    pool.read_span(7, 21, ["label"])  # two groups of a, the first of b
    assert calls == [([1, 2], ["label"]), ([0], ["label"])]
    calls.clear()
    pool.read_span(7, 14, ["label"])
    assert calls == [([1], ["label"])]
    calls.clear()
    pool.read(np.array([], np.int64), ["id"])
    assert calls == []


@pytest.mark.parametrize(
    ("size", "expected"),
    [(1, [0, 7, 14, 20, 27, 34, 41, 48, 53, 60]), (2, [0, 14, 20, 34, 48, 53]), (99, [0, 20, 53])],
)
def test_a_few_row_groups_are_read_at_once(pool, monkeypatch, size, expected):
    monkeypatch.setattr("xal.data.pool.READ_BYTES", 10 * size)
    monkeypatch.setitem(pool.__dict__, "sizes", tuple(10 * len(groups) for groups in pool.groups))
    monkeypatch.setattr("xal.data.pool._parquet", lambda path, size: pq.ParquetFile(path))
    firsts, parts = zip(*pool.scan(["id"]), strict=True)
    assert list(firsts) == expected
    assert [item for part in parts for item in part["id"].to_pylist()] == [f"i{n}" for n in range(61)]
    rows = np.array([0, 13, 14, 14, 33, 47, 60])
    assert pool.read(rows, ["id"])["id"].to_pylist() == [f"i{row}" for row in rows]


def test_pickle_is_small_and_whole(pool):
    copy = pickle.loads(pickle.dumps(pool))
    assert len(pickle.dumps(pool)) < 2000
    assert copy == pool and copy.read_span(5, 6, ["id"])["id"].to_pylist() == ["i5"]


def test_fingerprint_tells_pools_apart(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    made = {name: Pool.open(write(tmp_path / name / "p.parquet", TEXT)).fingerprint for name in ("one", "two")}
    assert made["one"] == made["two"] and len(made["one"]) == 23
    longer = {"id": ["a", "b", "c"], "text": ["x", "y", "z"]}
    assert Pool.open(write(tmp_path / "two" / "p.parquet", longer)).fingerprint != made["one"]


def test_other_types_become_ours(tmp_path):
    columns = {
        "id": pa.array([7, 8]),
        "text": pa.array(["x", "y"], pa.large_string()),
        "label": pa.array([3, 1]),
    }
    pool = Pool.open(write(tmp_path / "p.parquet", columns))
    read = pool.read_span(0, 2, ["id", "text", "label"])
    assert read.schema.types == [pa.string()] * 3
    assert read.to_pylist() == [{"id": "7", "text": "x", "label": "3"}, {"id": "8", "text": "y", "label": "1"}]
    assert pool.classes == ("1", "3")
    assert pool.read(np.array([], np.int64), ["id"]).schema.types == [pa.string()]
    coded = {**TEXT, "label": pa.array(["n", "m"]).dictionary_encode()}
    assert Pool.open(write(tmp_path / "q.parquet", coded)).read_span(0, 1, ["label"])["label"].to_pylist() == ["n"]


def test_classes_come_from_the_metadata_in_their_order(tmp_path):
    labels = {**TEXT, "label": ["a", "a"]}
    assert Pool.open(write(tmp_path / "p.parquet", labels, b'{"classes": ["z", "a"]}')).classes == ("z", "a")
    assert Pool.open(write(tmp_path / "q.parquet", TEXT)).classes == ()
    assert not Pool.open(tmp_path / "q.parquet").has_labels


def png(*shape: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros(shape, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def test_image_shape_is_that_of_most_images(tmp_path):
    images = {"id": [*"abcde"], "image": [b"broken", None, png(4, 6), png(5, 5), png(5, 5)]}
    assert Pool.open(write(tmp_path / "p.parquet", images)).image_shape() == (1, 5, 5)
    one_in_colour = {"id": [*"abcd"], "image": [png(4, 6), png(4, 6), png(4, 6), png(4, 6, 3)]}
    assert Pool.open(write(tmp_path / "o.parquet", one_in_colour)).image_shape() == (3, 4, 6)
    large = {"id": [*"abc"], "image": [png(1500, 2000), png(1500, 2000), png(3, 3)]}
    assert Pool.open(write(tmp_path / "l.parquet", large)).image_shape() == (1, 192, 256)
    colour = {"id": ["a"], "image": [png(5, 7, 3)]}
    assert Pool.open(write(tmp_path / "q.parquet", colour)).image_shape() == (3, 5, 7)
    assert Pool.open(write(tmp_path / "q.parquet", colour, b'{"channels": 1}')).image_shape() == (1, 5, 7)
    with pytest.raises(DataError, match="expected a pool of images"):
        Pool.open(write(tmp_path / "r.parquet", TEXT)).image_shape()
    with pytest.raises(DataError, match="none of 1 images"):
        Pool.open(write(tmp_path / "s.parquet", {"id": ["a"], "image": [b"broken"]})).image_shape()


def test_as_matrix():
    rows = pa.chunked_array([pa.array([[1, 2], [3, 4], None, [None, 5]], pa.list_(pa.float32(), 2))])
    np.testing.assert_array_equal(as_matrix(rows), [[1, 2], [3, 4], [np.nan, np.nan], [np.nan, 5]])
    np.testing.assert_array_equal(as_matrix(rows.slice(1, 1)), [[3, 4]])
    whole = table(0, 4)["features"].slice(2, 2)
    assert as_matrix(whole).dtype == np.float32
    np.testing.assert_array_equal(as_matrix(whole), [[2, 2, 2], [3, 3, 3]])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"name": ["a"], "text": ["x"]}, r"a pool needs an `id` column .*got columns name: string.*xal pool build"),
        ({"id": ["a"], "label": ["x"]}, "exactly one column of `image`, `text` or `features`"),
        ({"id": ["a"], "text": ["x"], "image": [b"x"]}, "exactly one column"),
        ({"id": [1.5], "text": ["x"]}, "`id` must be string"),
        ({"id": ["a"], "text": [1]}, "`text` must be string"),
        ({"id": ["a"], "image": ["a.png"]}, "`image` must be binary"),
        ({"id": ["a"], "features": [[1.0]]}, "`features` must be fixed_size_list<float32>"),
        ({"id": ["a"], "features": pa.array([[1.0]], pa.list_(pa.float64(), 1))}, "fixed_size_list<float32>"),
        ({"id": ["a"], "text": ["x"], "label": [0.5]}, "`label` must be string"),
        ({"id": pa.array([], pa.string()), "text": pa.array([], pa.string())}, "is empty: 0 rows"),
    ],
)
def test_wrong_columns(tmp_path, columns, message):
    with pytest.raises(DataError, match=message):
        Pool.open(write(tmp_path / "p.parquet", columns))


def test_missing_paths_and_empty_folders(tmp_path):
    with pytest.raises(DataError, match="no pool at .*nowhere"):
        Pool.open(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no \*.parquet files"):
        Pool.open(tmp_path)


def test_files_that_differ(tmp_path):
    write(tmp_path / "a.parquet", TEXT)
    write(tmp_path / "b.parquet", {**TEXT, "label": ["m", "n"]})
    with pytest.raises(DataError, match=r"a.parquet has id: string, text: string and b.parquet has .*label"):
        Pool.open(tmp_path)


def test_metadata_that_differs_or_is_broken(tmp_path):
    write(tmp_path / "a.parquet", TEXT, json.dumps({"classes": ["m"]}))
    write(tmp_path / "b.parquet", TEXT, json.dumps({"classes": ["n"]}))
    with pytest.raises(DataError, match="must agree.*classes"):
        Pool.open(tmp_path)
    write(tmp_path / "b.parquet", TEXT, b"{nonsense")
    with pytest.raises(DataError, match="should be a JSON object"):
        Pool.open(tmp_path)


def test_truncated_files(tmp_path):
    path = write(tmp_path / "p.parquet", TEXT)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="not a whole Parquet file"):
        Pool.open(path)


def test_damaged_pages_are_reported_when_read(tmp_path):
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"id": [f"{n}" * 9 for n in range(500)], "text": ["x"] * 500}), path, compression="zstd")
    pool = Pool.open(path)
    damaged = bytearray(path.read_bytes())
    damaged[4:600] = b"\xff" * 596
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="cannot read row groups 0 to 0"):
        pool.read_span(0, 500, ["id"])


def test_wrong_requests(pool):
    with pytest.raises(DataError, match="ascending"):
        pool.read(np.array([3, 2]), ["id"])
    with pytest.raises(DataError, match=r"requested rows 0..61, but the pool holds rows 0..60"):
        pool.read(np.array([0, 61]), ["id"])
    with pytest.raises(DataError, match="but the pool holds rows"):
        pool.read(np.array([-1, 1]), ["id"])
    with pytest.raises(DataError, match="the pool has 61 rows"):
        pool.read_span(50, 62, ["id"])
    with pytest.raises(DataError, match=r"no column \['text'\]"):
        pool.read(np.array([1]), ["text"])
