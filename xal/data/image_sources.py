"""Images to build a pool from: a folder of image files, or MNIST-style idx files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from xal.data import images
from xal.data.source import UNREADABLE, Item, Source, binary
from xal.errors import DataError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
IDX = re.compile(r"(?P<split>.+)-images[.-]idx3-ubyte(\.gz)?")


def image_folder(source: Path, labelled: bool) -> Source:
    relative = sorted(
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    )
    names = [name for name in relative if not any(part.startswith(".") for part in name.split("/"))]
    if not names:
        raise DataError(f"no images under {source}; expected {', '.join(sorted(IMAGE_SUFFIXES))} files or idx files")
    parents = {name: Path(name).parent.name for name in names}
    labelled = labelled and any(parents.values())
    notes = [] if len(names) == len(relative) else [f"{len(relative) - len(names)} hidden files were passed over"]
    if labelled and not all(parents.values()):
        notes.append(f"{list(parents.values()).count('')} images lie in no subfolder and have no label")

    def prepare(name: str) -> bytes:
        try:
            payload = (source / name).read_bytes()
        except OSError as error:
            raise DataError(str(error)) from error
        images.load(payload)
        return payload

    def items() -> Iterator[Item]:
        for name in names:
            identity = os.fsencode(name).decode("utf-8", "backslashreplace")  # a file name need not be UTF-8
            yield Item(identity, name, (parents[name] or None) if labelled else None)

    return Source(
        kind="image", items=items(), prepare=prepare, labelled=labelled, total=len(names), slow=True, notes=notes
    )


def _idx_header(stream: IO[bytes], path: Path, dimensions: int) -> tuple[int, ...]:
    head = stream.read(4 + 4 * dimensions)
    if len(head) < 4 + 4 * dimensions or head[:4] != bytes((0, 0, 8, dimensions)):
        raise DataError(
            f"{path} is not an idx file of uint8 with {dimensions} dimension(s); it starts {head[:4].hex()}"
        )
    return tuple(int(size) for size in np.frombuffer(head, ">u4")[1:])


def read_idx_labels(path: Path) -> npt.NDArray[np.uint8]:
    """(n,) labels of an idx1 file."""
    try:
        with binary(path) as stream:
            (count,) = _idx_header(stream, path, 1)
            labels = np.frombuffer(stream.read(), np.uint8)
    except UNREADABLE as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if len(labels) != count:
        raise DataError(f"{path} should hold {count} labels, got {len(labels)}; is it truncated?")
    return labels


def read_idx_images(path: Path) -> Iterator[npt.NDArray[np.uint8]]:
    """(1, h, w) each image of an idx3 file, one after another."""
    try:
        with binary(path) as stream:
            count, height, width = _idx_header(stream, path, 3)
            for index in range(count):
                pixels = stream.read(height * width)
                if len(pixels) < height * width:
                    raise DataError(f"{path} should hold {count} images, but ends in number {index}; is it truncated?")
                yield np.frombuffer(pixels, np.uint8).reshape(1, height, width)
    except UNREADABLE as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _smaller(pixels: npt.NDArray[np.uint8]) -> bytes:
    return min(images.encode_png(pixels), images.encode_webp(pixels), key=len)


def idx_files(path: Path, labelled: bool) -> Source:
    match = IDX.fullmatch(path.name)
    split = match["split"] if match else path.stem
    try:
        with binary(path) as stream:
            total = _idx_header(stream, path, 3)[0]
    except UNREADABLE as error:
        raise DataError(f"cannot read {path}: {error}") from error
    stem = path.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    beside = next((path.with_name(name) for name in (stem, f"{stem}.gz") if path.with_name(name).is_file()), None)
    labels = read_idx_labels(beside) if labelled and beside else None
    if labels is not None and len(labels) != total:
        raise DataError(f"{path.name} holds {total} images but the label file beside it {len(labels)} labels")

    def items() -> Iterator[Item]:
        for index, pixels in enumerate(read_idx_images(path)):
            yield Item(f"{split}-{index:05d}", pixels, None if labels is None else str(labels[index]))

    return Source(
        kind="image",
        items=items(),
        prepare=_smaller,
        labelled=labels is not None,
        total=total,
        classes=None if labels is None else tuple(map(str, range(max(10, int(labels.max(initial=0)) + 1)))),
        channels=1,
        slow=True,
        notes=[f"no label file beside {path.name}"] if labelled and beside is None else [],
    )
