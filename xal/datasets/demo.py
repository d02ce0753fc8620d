"""The demo data that ships with the package: 8,000 Fashion-MNIST train images as a pool, 2,000 test images.

H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST", arXiv:1708.07747 (MIT licence, beside the data).
`python -m xal.datasets.demo FOLDER` recreates the two files from the idx files in FOLDER.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from xal.data.build.image_sources import read_idx_images, read_idx_labels
from xal.data.build.writer import PoolWriter
from xal.data.images import encode_webp
from xal.data.pool import Pool
from xal.errors import DataError, XalError
from xal.types import Labels, Rows

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
FOLDER = Path(__file__).with_suffix("")
SEED = 0


def demo_pool() -> Pool:
    """8,000 labelled grey images of 28 x 28 pixels, 800 per class; ids `train-00042` have Fashion-MNIST's own row."""
    return Pool.open(FOLDER / "pool.parquet")


def demo_test() -> Pool:
    """2,000 labelled test images, 200 per class; ids `test-00042` likewise."""
    return Pool.open(FOLDER / "test.parquet")


def choose(labels: Labels, per_class: int, seed: int = SEED) -> Rows:
    """Rows of `per_class` random items of each class, in ascending order."""
    generator = np.random.default_rng(seed)
    classes = [np.flatnonzero(labels == label) for label in range(len(CLASSES))]
    return np.sort(np.concatenate([generator.choice(rows, per_class, replace=False) for rows in classes]))


def make(idx: Path, split: str, per_class: int, destination: Path, name: str) -> None:
    """Write `per_class` items per class of one split of the idx files to a Parquet file; `name` starts the ids."""
    labels = read_idx_labels(idx / f"{split}-labels-idx1-ubyte.gz").astype(np.int64)
    chosen = choose(labels, per_class)
    chosen_rows = set(chosen.tolist())
    images = (
        pixels
        for row, pixels in enumerate(read_idx_images(idx / f"{split}-images-idx3-ubyte.gz"))
        if row in chosen_rows
    )
    writer = PoolWriter(destination, "image", labelled=True)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        payloads = threads.map(lambda pixels: encode_webp(pixels, method=6), images)
        for row, payload in zip(chosen.tolist(), payloads, strict=True):
            writer.add(f"{name}-{row:05d}", payload, CLASSES[labels[row]])
    writer.close(CLASSES, channels=1)


def main(arguments: list[str]) -> int:
    """Write both files from the idx files in the folder `arguments[0]`; returns the exit status."""
    try:
        if len(arguments) != 1:
            raise DataError(f"usage: python -m xal.datasets.demo FASHION_MNIST_FOLDER (got {len(arguments)} arguments)")
        for split, per_class, file, name in (("train", 800, "pool", "train"), ("t10k", 200, "test", "test")):
            destination = FOLDER / f"{file}.parquet"
            make(Path(arguments[0]), split, per_class, destination, name)
            print(f"{destination}: {10 * per_class} images, {destination.stat().st_size} bytes")
    except XalError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
