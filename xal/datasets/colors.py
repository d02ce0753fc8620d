"""The dataset colors: images of 5 x 5 pixels in four colours, with two rules that labels cannot tell apart.

Rule 0: the four corners have the same colour. Rule 1: the three top middle pixels all differ. An image is positive if
both rules hold and negative if neither holds. The pool's column `relevant` lists the pixels of one rule (CALI and
CAIPI, after Ross et al. 2017).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from xal.data.build.pool_file import PoolFile

CORNERS, TOP = (0, 4, 20, 24), (1, 2, 3)
NAMES = tuple(f"{row},{column}" for row in range(5) for column in range(5))
COLOURS = 4


def colors(items: int, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """((n, 25) distinct images of colours 0..3, (n,) positive), in alternating classes; more items extend fewer."""
    generator = np.random.default_rng(seed)
    seen: set[bytes] = set()
    by_class: dict[bool, list[npt.NDArray[np.int64]]] = {True: [], False: []}
    while min(map(len, by_class.values())) < (items + 1) // 2:
        draws = generator.integers(0, COLOURS, (4096, 25))
        half = len(draws) // 2  # random images are rarely positive, so half of them are made positive
        draws[:half, CORNERS] = draws[:half, :1]
        draws[:half, TOP] = np.argsort(generator.random((half, COLOURS)), axis=1)[:, :3]
        zero, one = rules(draws)
        for image, both, either in zip(draws, zero & one, zero | one, strict=True):
            if both == either and image.tobytes() not in seen:
                seen.add(image.tobytes())
                by_class[bool(both)].append(image)
    positive = np.arange(items) % 2 == 0
    return np.stack([by_class[bool(label)][number // 2] for number, label in enumerate(positive)]), positive


def rules(images: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """((n,) whether rule 0 holds, (n,) whether rule 1 holds) for images (n, 25)."""
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
    """Write a pool of colors with the pixels of `rule` as `relevant`; returns the number of items.

    encoding: codes writes 25 columns of 0..3; onehot writes 100 columns of 0 and 1, of which those that are 1 are
    relevant. skip: number of items to leave out first, because another pool has them.
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
