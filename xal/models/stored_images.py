"""Decoded images in a file, for training sets that do not fit into memory: a batch reads its own images alone."""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xal.errors import ResourceError
from xal.types import Rows, Shape


class StoredImages:
    """(n, c, h, w) uint8 images 0-255. A mask or slice is a view of the same file; positions read images.

    The file is read, not mapped, so that its images count as no process's memory; the system's cache holds them while
    there is room.
    """

    def __init__(self, path: Path, shape: Shape, rows: Rows) -> None:
        self._path, self._rows = path, rows
        self.shape = (len(rows), *shape)
        self._bytes = int(np.prod(shape))
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    @classmethod
    def write(cls, path: Path, shape: Shape, parts: Iterable[npt.NDArray[np.uint8]], expected: int) -> StoredImages:
        """Write (b, c, h, w) parts to a file. Raises ResourceError if the disk has no room for `expected` images."""
        needed, free = expected * int(np.prod(shape)), shutil.disk_usage(path.parent).free
        if needed > free:
            raise ResourceError(
                f"training needs {needed / 1e9:.1f} GB for decoded images, and {path.parent} has {free / 1e9:.1f} GB "
                "free; set TMPDIR to a larger disk, or raise engine.train_memory_mb to keep them in memory"
            )
        written = 0
        with path.open("wb") as stream:
            for part in parts:
                stream.write(np.ascontiguousarray(part).data)
                written += len(part)
        return cls(path, shape, np.arange(written))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, chosen: Any) -> Any:
        """A view for a slice or a (n,) mask; the (b, c, h, w) images at positions, as a tensor."""
        if isinstance(chosen, slice):
            return StoredImages(self._path, self.shape[1:], self._rows[chosen])
        positions = np.asarray(chosen)
        if positions.dtype == bool:
            return StoredImages(self._path, self.shape[1:], self._rows[positions])
        images = np.empty((len(positions), *self.shape[1:]), np.uint8)
        for image, row in zip(images, self._rows[positions].tolist(), strict=True):
            if os.preadv(self._file, [memoryview(image.reshape(-1))], row * self._bytes) != self._bytes:
                raise ResourceError(f"{self._path} was cut short; is the disk of TMPDIR full?")
        return torch.from_numpy(images)

    def split(self, size: int) -> Iterator[Tensor]:
        """The images in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self[np.arange(start, min(start + size, len(self)))]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """All images, in memory."""
        return np.asarray(self[np.arange(len(self))].numpy(), dtype)
