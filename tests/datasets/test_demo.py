"""The demo data: what it says it holds, and the very pixels of Fashion-MNIST."""

import gzip

import numpy as np
import pytest

from xal.data.build.image_sources import read_idx_images, read_idx_labels
from xal.data.check import check
from xal.data.images import decode
from xal.datasets import demo

PARTS = [(demo.demo_pool, "train", "train", 800), (demo.demo_test, "t10k", "test", 200)]


@pytest.mark.parametrize(("opened", "split", "name", "per_class"), PARTS)
def test_counts(opened, split, name, per_class):
    pool = opened()
    assert len(pool) == 10 * per_class and pool.classes == demo.CLASSES
    assert pool.image_shape() == (1, 28, 28)
    assert max(rows for groups in pool.groups for rows in groups) <= 1000
    report = check(pool.folder / pool.files[0])
    assert report.ok and report.missing_labels == 0
    assert report.label_counts == dict.fromkeys(demo.CLASSES, per_class)


def test_the_package_stays_small():
    assert {path.name for path in demo.FOLDER.iterdir()} == {"pool.parquet", "test.parquet", "LICENSE.txt"}
    assert sum(path.stat().st_size for path in demo.FOLDER.iterdir()) < 5_000_000


@pytest.mark.parametrize(("opened", "split", "name", "per_class"), PARTS)
def test_pixels_and_labels_are_those_of_the_idx_files(shared_data, opened, split, name, per_class):
    folder, pool = shared_data / "fashion-mnist", opened()
    labels = read_idx_labels(folder / f"{split}-labels-idx1-ubyte.gz")
    images = np.stack(list(read_idx_images(folder / f"{split}-images-idx3-ubyte.gz")))
    table = pool.read_span(0, len(pool), ["id", "image", "label"])
    ids = table["id"].to_pylist()
    rows = np.array([int(identity.removeprefix(f"{name}-")) for identity in ids])
    assert np.all(np.diff(rows) > 0) and ids[0] == f"{name}-{rows[0]:05d}"
    np.testing.assert_array_equal(rows, demo.choose(labels.astype(np.int64), per_class))
    assert table["label"].to_pylist() == [demo.CLASSES[label] for label in labels[rows]]
    decoded, good = decode(table["image"].to_pylist(), (1, 28, 28))
    assert good.all()
    np.testing.assert_array_equal(decoded, images[rows])


def test_choose_is_balanced_ordered_and_seeded():
    labels = np.repeat(np.arange(10), 20)[::-1]
    chosen = demo.choose(labels, 5, seed=1)
    assert np.bincount(labels[chosen]).tolist() == [5] * 10 and np.all(np.diff(chosen) > 0)
    np.testing.assert_array_equal(chosen, demo.choose(labels, 5, seed=1))
    assert not np.array_equal(chosen, demo.choose(labels, 5, seed=2))


def test_make_is_deterministic(tmp_path):
    generator = np.random.default_rng(0)
    for kind, array in (
        ("images-idx3", generator.integers(0, 256, (40, 4, 4), dtype=np.uint8)),
        ("labels-idx1", np.repeat(np.arange(10, dtype=np.uint8), 4)),
    ):
        head = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
        (tmp_path / f"train-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
    for name in ("one", "two"):
        demo.make(tmp_path, "train", 2, tmp_path / f"{name}.parquet", "train")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_main_says_what_is_wrong(tmp_path, capsys):
    assert demo.main([]) == 1
    assert "usage: python -m xal.datasets.demo" in capsys.readouterr().err
    assert demo.main([str(tmp_path)]) == 1
    assert "cannot read" in capsys.readouterr().err
