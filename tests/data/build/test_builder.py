"""Building: every kind of source from tiny made data, what is left out and why, and every error."""

import gzip
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xal.data.build.builder import build
from xal.data.build.writer import PoolWriter
from xal.data.check import check
from xal.data.images import decode, encode_png, encode_webp
from xal.data.pool import Pool, as_matrix
from xal.errors import DataError


def png(seed: int) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(0, 256, (3, 6, 5), dtype=np.uint8))


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for name, payload in {
        "dog/b.png": png(1),
        "dog/a.PNG": png(2),
        "cat/deep/c.jpeg": png(3),
        "cat/copy.png": png(1),
        "cat/cut.png": png(4)[:60],
        "cat/notes.txt": b"no image",
        "cat/.hidden.png": png(5),
        "root.webp": png(6),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(payload)
    return folder


def whole(path, *columns: str) -> list[tuple[object, ...]]:
    pool = Pool.open(path)
    return [tuple(row.values()) for row in pool.read_span(0, len(pool), columns).to_pylist()]


def test_image_folder(photos, tmp_path):
    report = build(photos, tmp_path / "pool")
    assert report.written == 4
    assert [identity for identity, _ in report.unreadable] == ["cat/cut.png"]
    assert report.unreadable[0][1]
    assert report.duplicates == (("dog/b.png", "cat/copy.png"),)
    assert report.notes == (
        "1 hidden files were skipped",
        "1 files were passed over, which are no images: .txt 1",
        "1 images are in no subfolder and have no label",
    )
    assert whole(tmp_path / "pool", "id", "label", "image") == [
        ("cat/copy.png", "cat", png(1)),
        ("cat/deep/c.jpeg", "cat", png(3)),
        ("dog/a.PNG", "dog", png(2)),
        ("root.webp", None, png(6)),
    ]
    pool = Pool.open(tmp_path / "pool")
    assert pool.classes == ("cat", "dog")
    assert pool.image_shape() == (3, 6, 5)
    assert check(tmp_path / "pool").ok


def test_a_flat_folder_has_no_labels(photos, tmp_path):
    build(photos / "dog", tmp_path / "pool")
    assert not Pool.open(tmp_path / "pool").has_labels
    build(photos, tmp_path / "other", label_column=None)
    assert not Pool.open(tmp_path / "other").has_labels


def write_idx(path, array):
    data = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture(params=["", ".gz"])
def idx(request, tmp_path):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (150, 6, 5), dtype=np.uint8)
    images[1::2] = images[1::2, :1, :1]  # flat ones
    images[9] = images[2]
    labels = generator.integers(0, 10, 150, dtype=np.uint8)
    folder = tmp_path / "idx"
    folder.mkdir()
    write_idx(folder / f"train-images-idx3-ubyte{request.param}", images)
    write_idx(folder / f"train-labels-idx1-ubyte{request.param}", labels)
    return folder, images, labels


def test_idx_round_trip_is_pixel_exact(idx, tmp_path):
    folder, images, labels = idx
    report = build(folder, tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    assert ("train-00009", "train-00002") in report.duplicates
    left_out = {int(identity[-5:]) for identity, _ in report.duplicates}
    kept = [row for row in range(150) if row not in left_out]
    _, first = np.unique(images.reshape(150, -1), axis=0, return_index=True)
    assert kept == sorted(first.tolist()) and report.written == len(kept)
    assert pool.classes == tuple("0123456789") and pool.image_shape() == (1, 6, 5)
    rows = pool.read_span(0, len(pool), ["id", "image", "label"])
    assert rows["id"].to_pylist() == [f"train-{row:05d}" for row in kept]
    assert rows["label"].to_pylist() == [str(label) for label in labels[kept]]
    decoded, good = decode(rows["image"].to_pylist(), (1, 6, 5))
    assert good.all()
    np.testing.assert_array_equal(decoded[:, 0], images[kept])
    lengths = [min(len(encode_png(image)), len(encode_webp(image))) for image in images[kept][:, None]]
    assert [len(payload) for payload in rows["image"].to_pylist()] == lengths


def test_idx_without_labels_and_with_two_splits(idx, tmp_path):
    folder, _, _ = idx
    images = next(folder.glob("*images*"))
    next(folder.glob("*labels*")).unlink()
    report = build(images, tmp_path / "pool")
    assert report.notes == (f"no label file beside {images.name}",)
    assert not Pool.open(tmp_path / "pool").has_labels
    shutil.copy(images, images.with_name(images.name.replace("train", "t10k")))
    with pytest.raises(DataError, match="t10k-images.*train-images.*name the one"):
        build(folder, tmp_path / "other")


def test_damaged_idx_files(idx, tmp_path):
    folder, _, labels = idx
    path, beside = next(folder.glob("*images*")), next(folder.glob("*labels*"))
    write_idx(beside, labels[:-1])
    with pytest.raises(DataError, match="150 images, but the label file beside it holds 149"):
        build(folder, tmp_path / "pool")
    write_idx(beside, labels)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="truncated|ended before"):
        build(folder, tmp_path / "pool")
    write_idx(path, labels)
    with pytest.raises(DataError, match="not an idx file of uint8 with 3 dim"):
        build(folder, tmp_path / "pool")
    path.write_bytes(b"")
    with pytest.raises(DataError, match="idx|cannot read"):
        build(folder, tmp_path / "pool")
    assert sorted(tmp_path.iterdir()) == [folder]


def test_csv_text(tmp_path):
    source = tmp_path / "texts.csv"
    source.write_text(
        'id,text,label,source\n007,"one, two\nlines",a,x\n8,  ,b,x\n9,"one, two\nlines",b,x\n'
        "007,again,b,x\nshort,row\n10,three,,x\n,four,a,x\n"
    )
    report = build(source, tmp_path / "pool")
    assert whole(tmp_path / "pool", "id", "text", "label") == [
        ("007", "one, two\nlines", "a"),
        ("007#2", "again", "b"),
        ("10", "three", None),
    ]
    assert report.duplicates == report.conflicts == (("9", "007"),) and report.renamed == 1
    reasons = dict(report.unreadable)
    assert reasons == {"8": "the text is blank", "line 8": "2 values, expected 4", "line 10": "no id"}
    assert report.notes == ("columns left out: source",)
    assert Pool.open(tmp_path / "pool").classes == ("a", "b")
    assert report.read == report.written + len(report.unreadable) + len(report.duplicates) == 7
    build(source, tmp_path / "kept", ids="row", duplicates="keep")
    assert [row[0] for row in whole(tmp_path / "kept", "id")] == [f"texts.csv:{row}" for row in (0, 2, 3, 5)]


def test_csv_without_ids_and_with_named_columns(tmp_path):
    source = tmp_path / "texts.csv.gz"
    source.write_bytes(gzip.compress(("body,class\n" + "".join(f"t{n},c{n % 2}\n" for n in range(11))).encode()))
    report = build(source, tmp_path / "pool", text_column="body", label_column="class")
    assert "the row number, from 0, is the id" in report.notes[0]
    assert whole(tmp_path / "pool", "id", "text", "label")[9:] == [("09", "t9", "c1"), ("10", "t10", "c0")]


def test_csv_numbers(tmp_path):
    source = tmp_path / "numbers.csv"
    source.write_text("x,id,y,label\n1,a,0.5,7\n2,b,,7\n1,c,0.5,8\n2.5,d,inf,8\n3,e,-1,8\n")
    report = build(source, tmp_path / "pool.parquet")
    assert (tmp_path / "pool.parquet").is_file()
    pool = Pool.open(tmp_path / "pool.parquet")
    assert pool.kind == "features" and pool.classes == ("7", "8")
    read = pool.read_span(0, len(pool), ["id", "features"])
    assert read["id"].to_pylist() == ["a", "c", "e"]  # equal rows are different things
    np.testing.assert_array_equal(as_matrix(read["features"]), [[1, 0.5], [1, 0.5], [3, -1]])
    assert report.duplicates == ()
    dropped = build(source, tmp_path / "dropped", duplicates="drop")
    assert dropped.duplicates == dropped.conflicts == (("c", "a"),)
    assert [identity for identity, reason in report.unreadable if "missing" in reason] == ["b", "d"]


def test_parquet_numbers(tmp_path):
    columns = {"id": [3, 1], "a": pa.array([1, 2**40 + 1]), "b": [0.25, 0.5]}
    pq.write_table(pa.table(columns), tmp_path / "numbers.parquet")
    build(tmp_path / "numbers.parquet", tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    read = pool.read_span(0, 2, ["id", "features"])
    assert read["id"].to_pylist() == ["3", "1"] and not pool.has_labels
    np.testing.assert_array_equal(as_matrix(read["features"]), np.array([[1, 0.25], [2**40, 0.5]], np.float32))


def test_json_lines(tmp_path):
    source = tmp_path / "texts.jsonl"
    lines = [
        json.dumps({"id": 1, "text": "one", "label": 5}),
        "",
        "{broken",
        '["no object"]',
        json.dumps({"id": 2, "text": 3}),
        json.dumps({"text": "no id"}),
        '{"id": 4, "text": "half \\ud800"}',
        json.dumps({"id": 5, "text": "five"}),
    ]
    source.write_text("\n".join(lines))
    report = build(source, tmp_path / "pool")
    assert whole(tmp_path / "pool", "id", "text", "label") == [("1", "one", "5"), ("5", "five", None)]
    reasons = dict(report.unreadable)
    assert reasons.keys() == {"line 3", "line 4", "2", "line 6", "line 7"}
    assert "not JSON" in reasons["line 3"] and reasons["line 4"] == "not a JSON object"
    assert reasons["2"] == "the text is int, expected a string" and reasons["line 6"] == "no id"
    source.write_text('{"text": "a"}\n{"text": "b"}\n')
    assert build(source, tmp_path / "other").notes[0].startswith("no column `id`")
    assert whole(tmp_path / "other", "id") == [("0",), ("1",)]


def test_files_and_progress(tmp_path):
    source = tmp_path / "n.csv"
    source.write_text("id,x\n" + "".join(f"i{n},{n}\n" for n in range(100)))
    calls = []
    build(source, tmp_path / "pool", files=3, progress=lambda done, total: calls.append((done, total)))
    pool = Pool.open(tmp_path / "pool")
    assert [sum(groups) for groups in pool.groups] == [34, 33, 33]
    ids = [item for _, table in pool.scan(["id"]) for item in table["id"].to_pylist()]
    assert ids == [f"i{n}" for n in range(100)]
    assert calls == [(0, 100), (64, 100), (100, 100)]


def test_row_groups_are_bounded(tmp_path):
    source = tmp_path / "n.csv"
    source.write_text("x\n" + "".join(f"{n}\n" for n in range(5000)))
    build(source, tmp_path / "pool")
    assert Pool.open(tmp_path / "pool").groups == ((2048, 2048, 904),)
    writer = PoolWriter(tmp_path / "big.parquet", "image", labelled=False)
    for n in range(5):
        writer.add(str(n), bytes(30 << 20))
    writer.close(())
    assert Pool.open(tmp_path / "big.parquet").groups == ((3, 2),)
    for name, size, groups in (("small", 500, (66, 34)), ("photos", 100_000, (16,) * 6 + (4,))):
        writer = PoolWriter(tmp_path / f"{name}.parquet", "image", labelled=False)
        for n in range(100):
            writer.add(str(n), bytes(size))
        writer.close(())
        assert Pool.open(tmp_path / f"{name}.parquet").groups == (groups,)


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("x.docx", "x", {}, "cannot tell what .* a folder of images, idx files"),
        ("x.csv", "id,name,x\na,b,1\n", {}, r"got name \(string\).*--text-column"),
        ("x.csv", "id,label\na,b\n", {}, "got no other column"),
        ("x.csv", "id,text\na,b\n", {"id_column": "key"}, r"no column `key`; it has \['id', 'text'\]"),
        ("x.csv", "id,text\na,b\n", {"label_column": "class"}, "no column `class`"),
        ("x.csv", "id,text\na,b\n", {"text_column": "body"}, "no column `body`"),
        ("x.csv", "id,text,text\na,b,c\n", {}, "a column twice"),
        ("x.csv", "", {}, "is empty; expected a table with a header line"),
        ("x.csv", 'id,text\n1,"open\n2,b\n', {}, "line 2: a quote that opens there is never closed"),
        ("x.csv", "id,text\n", {}, "no pool to build: it is empty"),
        ("x.csv", "id,text\na, \n", {}, "no pool to build: a: the text is blank"),
        ("x.jsonl", "nonsense", {}, "holds no JSON object"),
        ("x.jsonl", '{"body": "x"}', {}, "has no `text`"),
        ("x.jsonl.gz", "not gzip", {}, "cannot read"),
        ("x.csv.gz", "not gzip", {}, "cannot read"),
        ("x.parquet", "not parquet", {}, "not a whole Parquet file"),
    ],
)
def test_wrong_sources(tmp_path, name, content, options, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        build(tmp_path / name, tmp_path / "pool", **options)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_text_that_is_not_utf_8(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"id,text\na,caf\xe9\n")
    assert "Windows-1252" in build(tmp_path / "x.csv", tmp_path / "pool").notes[0]
    assert whole(tmp_path / "pool", "text") == [("café",)]
    (tmp_path / "y.csv").write_bytes(b"id,text\na,\x81\x8d\n")
    with pytest.raises(DataError, match="unknown encoding; save it as UTF-8"):
        build(tmp_path / "y.csv", tmp_path / "other")


def test_times_that_float32_cannot_tell_apart_stay_and_are_noted(tmp_path):
    (tmp_path / "t.csv").write_text("time,y\n" + "".join(f"{1700000000 + n},0.1\n" for n in range(100)))
    report = build(tmp_path / "t.csv", tmp_path / "pool")
    assert report.written == 100 and "column time: " in " ".join(report.notes)
    assert not any("column y" in note for note in report.notes)


def test_the_first_record_need_not_have_all_keys(tmp_path):
    rows = [{"id": 0, "text": "x"}] + [{"id": n, "text": f"t{n}", "label": "ab"[n % 2]} for n in range(1, 20)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    build(tmp_path / "t.jsonl", tmp_path / "pool")
    assert Pool.open(tmp_path / "pool").classes == ("a", "b")


def test_missing_and_empty_sources(tmp_path):
    with pytest.raises(DataError, match="nothing at"):
        build(tmp_path / "nowhere", tmp_path / "pool")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images under"):
        build(tmp_path / "empty", tmp_path / "pool")


def test_destinations(photos, tmp_path):
    (tmp_path / "pool").mkdir()
    with pytest.raises(DataError, match="exists; remove it"):
        build(photos, tmp_path / "pool")
    for destination, files in (("new.parquet", 2), ("new", 0)):
        with pytest.raises(DataError, match=f"requested {files} files for"):
            build(photos, tmp_path / destination, files=files)
    build(photos, tmp_path / "deep" / "new" / "pool")
    assert len(Pool.open(tmp_path / "deep" / "new" / "pool")) == 4


def test_an_interrupted_build_leaves_nothing(photos, tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(photos, tmp_path / "pool", progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_sample_is_drawn_at_random_and_always_the_same(tmp_path):
    source = tmp_path / "texts.csv"
    source.write_text("id,text\n" + "".join(f"{n:03d},text number {n}\n" for n in range(200)))
    for name in ("one", "other"):
        assert build(source, tmp_path / name, sample=50).written == 50
    one, other = (
        [item for _, table in Pool.open(tmp_path / name).scan(["id"]) for item in table["id"].to_pylist()]
        for name in ("one", "other")
    )
    assert one == other == sorted(one)
    assert one != [f"{n:03d}" for n in range(50)]
    with pytest.raises(DataError, match="201 items cannot be drawn .--sample. from 200"):
        build(source, tmp_path / "more", sample=201)
