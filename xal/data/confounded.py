"""Data sets of interactive learning with confounders, which say what truly matters: decoys and colors.

decoy: every image has a 4 x 4 patch in a random corner, of shade 255 - 25 y in training, where y is the class, and
255 - 25 u in test, u random: who looks at the patch learns nothing (Ross et al. 2017; CAIPI, section 4).

colors: 5 x 5 pixels of four colours. Rule 0: the four corners are alike; rule 1: the three top middle pixels are all
different. Images are positive where both hold, negative where neither does: labels alone cannot tell the rules apart.
`relevant` are the pixels of one of them (CALI and CAIPI, after Ross et al. 2017).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from xal.data.build import PoolWriter
from xal.data.image_sources import idx_files, read_idx_images, read_idx_labels
from xal.data.images import encode_png
from xal.errors import DataError

PATCH = 4  # pixels
CORNERS, TOP = (0, 4, 20, 24), (1, 2, 3)
NAMES = tuple(f"{row},{column}" for row in range(5) for column in range(5))
COLOURS = 4


def decoy(
    images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], shades: npt.NDArray[np.int64], seed: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """(images (n, 1, h, w) with a patch of shade 255 - 25 `shades`, (n, h, w) where it is)."""
    n, _, h, w = images.shape
    corners = np.random.default_rng(seed).integers(0, 4, n)
    top, left = np.where(corners < 2, 0, h - PATCH), np.where(corners % 2 == 0, 0, w - PATCH)
    rows, columns = np.arange(h)[None], np.arange(w)[None]
    down = (rows >= top[:, None]) & (rows < top[:, None] + PATCH)
    across = (columns >= left[:, None]) & (columns < left[:, None] + PATCH)
    where = down[:, :, None] & across[:, None, :]
    painted = np.where(where[:, None], (255 - 25 * shades).astype(np.uint8)[:, None, None, None], images)
    return painted.astype(np.uint8), where


def build_decoy(
    source: Path,
    destination: Path,
    *,
    confounded: bool,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """A pool of an idx file's images with decoys, `irrelevant` their pixels; returns how many.

    confounded: shades tell the class, as in training; else they are random, as in test.
    """
    opened = idx_files(source, True)
    if not opened.labelled or not opened.classes:
        raise DataError(f"{source} has no labels beside it, and a decoy's shade is its class's")
    name = source.name.replace("images", "labels").replace("idx3", "idx1")
    labels = read_idx_labels(source.with_name(name)).astype(np.int64)
    images = np.stack(list(read_idx_images(source)))
    shades = labels if confounded else np.random.default_rng([seed, 1]).integers(0, 10, len(labels))
    painted, where = decoy(images, labels, shades, seed)
    with PoolFile(destination, "image", "irrelevant") as writer:
        for number, (image, place) in enumerate(zip(painted, where, strict=True)):
            if progress is not None and number % 1000 == 0:
                progress(number, len(painted))
            writer.add(f"decoy-{number:05d}", encode_png(image), str(labels[number]), np.flatnonzero(place).tolist())
        writer.finish(opened.classes, channels=1)
    return len(painted)


def colors(items: int, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """((n, 25) distinct images of colours 0..3, (n,) positive), the classes in turn; more items begin with the same."""
    generator = np.random.default_rng(seed)
    seen: set[bytes] = set()
    found: dict[bool, list[npt.NDArray[np.int64]]] = {True: [], False: []}
    while min(map(len, found.values())) < (items + 1) // 2:
        draws = generator.integers(0, COLOURS, (4096, 25))
        half = len(draws) // 2  # positive images are rare among random ones: half are made so
        draws[:half, CORNERS] = draws[:half, :1]
        draws[:half, TOP] = np.argsort(generator.random((half, COLOURS)), axis=1)[:, :3]
        zero, one = rules(draws)
        for image, both, either in zip(draws, zero & one, zero | one, strict=True):
            if both == either and image.tobytes() not in seen:
                seen.add(image.tobytes())
                found[bool(both)].append(image)
    positive = np.arange(items) % 2 == 0
    return np.stack([found[bool(each)][place // 2] for place, each in enumerate(positive)]), positive


def rules(images: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """((n,) rule 0, (n,) rule 1) of images (n, 25)."""
    corners, top = images[:, CORNERS], images[:, TOP]
    different = (top[:, 0] != top[:, 1]) & (top[:, 1] != top[:, 2]) & (top[:, 0] != top[:, 2])
    return (corners == corners[:, :1]).all(axis=1), different


def build_colors(
    destination: Path,
    *,
    items: int,
    rule: Literal[0, 1],
    encoding: Literal["codes", "onehot"],
    seed: int = 0,
    skip: int = 0,
) -> int:
    """A pool of colors, `relevant` the pixels of a rule; returns how many items.

    encoding: codes are 25 columns of 0..3; onehot 100 of 0 and 1, relevant those that are 1. skip: leave out the
    first so many, which another pool has taken.
    """
    images, positive = colors(items + skip, seed)
    images, positive = images[skip:], positive[skip:]
    pixels = np.array(CORNERS if rule == 0 else TOP)
    onehot = encoding == "onehot"
    names = tuple(f"{name} {'rgbv'[colour]}" for name in NAMES for colour in range(COLOURS)) if onehot else NAMES
    with PoolFile(destination, "features", "relevant", width=len(names)) as writer:
        for number, (image, label) in enumerate(zip(images, positive, strict=True)):
            row = np.eye(COLOURS)[image].ravel() if onehot else image
            relevant = (pixels * COLOURS + image[pixels] if onehot else pixels).tolist()
            payload = row.astype(np.float32).tobytes()
            writer.add(f"color-{skip + number:05d}", payload, "positive" if label else "negative", sorted(relevant))
        writer.finish(("negative", "positive"), names=names)
    return len(images)


class PoolFile:
    """A pool of one file that is whole or not there."""

    def __init__(self, destination: Path, kind: Any, truth: Any, width: int = 0) -> None:
        if destination.exists():
            raise DataError(f"{destination} exists; remove it or build the pool elsewhere")
        self.destination, self.aside = destination, destination.with_name(f".{destination.name}-aside")
        self._options = {"kind": kind, "truth": truth, "width": width}
        self._closed = False

    def __enter__(self) -> PoolFile:
        self.aside.mkdir(parents=True, exist_ok=True)
        self._file = PoolWriter(self.aside / "part-00000.parquet", labelled=True, **self._options)
        return self

    def add(self, identity: str, payload: bytes | str, label: str, truth: Sequence[int]) -> None:
        """Append one item."""
        self._file.add(identity, payload, label, truth)

    def finish(self, classes: Sequence[str], channels: int | None = None, names: Sequence[str] = ()) -> None:
        """All is there."""
        self._file.close(classes, channels, names)
        self._closed = True

    def __exit__(self, *_: object) -> None:
        if self._closed:
            self.aside.rename(self.destination)
        else:
            self._file.close(())
        shutil.rmtree(self.aside, ignore_errors=True)
