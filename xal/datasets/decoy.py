"""The dataset decoy: images with a confounder, whose pixels the pool's column `irrelevant` lists.

Every image has a 4 x 4 patch in a random corner. Its shade is 255 - 25 y in training, where y is the class, and
255 - 25 u in test, where u is random, so a model that relies on the patch fails on the test images (Ross et al. 2017;
CAIPI, section 4).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xal.data.build.image_sources import idx_files, read_idx_images, read_idx_labels
from xal.data.build.pool_file import PoolFile
from xal.data.images import encode_png
from xal.errors import DataError

PATCH = 4  # pixels


def decoy(
    images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], shades: npt.NDArray[np.int64], seed: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """(images (n, 1, h, w) with a patch of shade 255 - 25 `shades`, (n, h, w) mask of the patch)."""
    n, _, h, w = images.shape
    corners = np.random.default_rng(seed).integers(0, 4, n)
    top, left = np.where(corners < 2, 0, h - PATCH), np.where(corners % 2 == 0, 0, w - PATCH)
    rows, columns = np.arange(h)[None], np.arange(w)[None]
    down = (rows >= top[:, None]) & (rows < top[:, None] + PATCH)
    across = (columns >= left[:, None]) & (columns < left[:, None] + PATCH)
    mask = down[:, :, None] & across[:, None, :]
    painted = np.where(mask[:, None], (255 - 25 * shades).astype(np.uint8)[:, None, None, None], images)
    return painted.astype(np.uint8), mask


def build_decoy(
    source: Path,
    destination: Path,
    *,
    confounded: bool,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write a pool of an idx file's images with decoys, whose pixels are `irrelevant`; returns the number of images.

    confounded: whether shades depend on the class, as in training; else they are random, as in test.
    """
    opened = idx_files(source, True)
    if not opened.labelled or not opened.classes:
        raise DataError(f"{source} has no label file beside it, but the shades of decoys need the classes; add one")
    name = source.name.replace("images", "labels").replace("idx3", "idx1")
    labels = read_idx_labels(source.with_name(name)).astype(np.int64)
    images = np.stack(list(read_idx_images(source)))
    shades = labels if confounded else np.random.default_rng([seed, 1]).integers(0, 10, len(labels))
    painted, masks = decoy(images, labels, shades, seed)
    with PoolFile(destination, "image", "irrelevant") as writer:
        for number, (image, mask) in enumerate(zip(painted, masks, strict=True)):
            if progress is not None and number % 1000 == 0:
                progress(number, len(painted))
            writer.add(f"decoy-{number:05d}", encode_png(image), str(labels[number]), np.flatnonzero(mask).tolist())
        writer.finish(opened.classes, channels=1)
    return len(painted)
