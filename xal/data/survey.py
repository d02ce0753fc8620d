"""What a sample of a pool's images looks like, and the shape that follows from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LONGEST_SIDE = 256  # pixels of an image, unless a model sets its size


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The shapes of a sample of a pool's images."""

    shape: tuple[int, int, int]
    """(channels, height, width) that a model takes by default: 3 channels if any image has colours; the commonest size,
    or the medians of height and width if no size is that of half of the images; at most LONGEST_SIDE pixels."""
    looked_at: int
    grey: int
    smallest: tuple[int, int]  # (height, width), by area
    largest: tuple[int, int]

    @classmethod
    def of(cls, shapes: Sequence[tuple[int, int, int]], channels: int | None) -> Survey:
        """Summarise (channels, height, width) of images; channels: of the pool's metadata, which count."""
        sizes = [(height, width) for _, height, width in shapes]
        size, count = Counter(sizes).most_common(1)[0]
        if 2 * count < len(sizes):
            height, width = np.median(sizes, axis=0).round().astype(int)
            size = (int(height), int(width))
        shrink = min(1.0, LONGEST_SIDE / max(size))
        height, width = (max(1, round(side * shrink)) for side in size)
        by_area = sorted(sizes, key=lambda size: size[0] * size[1])
        return cls(
            shape=(channels or max(number for number, _, _ in shapes), height, width),
            looked_at=len(shapes),
            grey=sum(number == 1 for number, _, _ in shapes),
            smallest=by_area[0],
            largest=by_area[-1],
        )

    def __str__(self) -> str:
        channels, height, width = self.shape
        sizes = f"{self.smallest[1]} x {self.smallest[0]}"
        if self.smallest != self.largest:
            sizes += f" to {self.largest[1]} x {self.largest[0]}"
        colours = {0: "in colour", self.looked_at: "grey"}.get(self.grey, f"{self.grey} grey, the others in colour")
        taken = f"{width} x {height} {'grey' if channels == 1 else 'RGB'}"
        return f"{self.looked_at} images looked at: {sizes} pixels, {colours}; taken as {taken}"
