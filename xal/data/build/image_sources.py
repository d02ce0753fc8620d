"""Image sources of a pool: a folder of image files, or MNIST-style idx files."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from xal.core.registry import nearest
from xal.data import images
from xal.data.build.source import UNREADABLE, Item, Source, binary
from xal.errors import DataError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
IDX = re.compile(r"(?P<split>.+)-images[.-]idx3-ubyte(\.gz)?")


@dataclass(frozen=True, kw_only=True)
class Subset:
    """Some classes of an image folder, and some items of each class, in an order that is random but always the same."""

    classes: tuple[str, ...] | None = None
    """Class folders, by name or by index (from 0) among all class folders, sorted; None: all."""
    per_class: int | None = None
    """Number of items of each class; None: all."""
    skip: int = 0
    """Number of items of each class to leave out first, because another pool has them."""

    def of(self, parents: dict[str, str]) -> list[str]:
        """The selected names (keys of `parents`), sorted; `parents` has the class folder of each name."""
        folders = sorted({parent for parent in parents.values() if parent})
        chosen = set(folders) if self.classes is None else {self._folder(entry, folders) for entry in self.classes}
        members: dict[str, list[str]] = {name: [] for name in sorted(chosen)}
        for name in sorted(parents, key=lambda name: hashlib.sha256(os.fsencode(name)).digest()):
            if parents[name] in chosen:
                members[parents[name]].append(name)
        stop = None if self.per_class is None else self.skip + self.per_class
        few = {name: len(names) for name, names in members.items() if len(names) < (stop or self.skip + 1)}
        if few:
            name, count = next(iter(few.items()))
            raise DataError(
                f"{len(few)} classes have too few images, first '{name}': {count} of {stop or self.skip + 1}; "
                "take fewer images of each class"
            )
        return sorted(name for names in members.values() for name in names[self.skip : stop])

    @staticmethod
    def _folder(entry: str, folders: list[str]) -> str:
        if entry in folders:
            return entry
        if entry.isdecimal() and int(entry) < len(folders):
            return folders[int(entry)]
        raise DataError(f"no class folder '{entry}' among {len(folders)}{nearest(entry, folders)}")


def read_classes(path: Path) -> tuple[str, ...]:
    """The entries of a class list, separated by commas or line breaks; `#` starts a comment."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    entries = [entry.strip() for line in lines for entry in line.partition("#")[0].split(",")]
    classes = tuple(entry for entry in entries if entry)
    if not classes or len(set(classes)) < len(classes):
        raise DataError(f"{path}: expected distinct classes, got {len(classes)} entries, {len(set(classes))} distinct")
    return classes


def image_folder(source: Path, labelled: bool, subset: Subset | None = None) -> Source:
    """The images under a folder; ids are relative paths, labels the names of the parent folders."""
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
    if subset is not None:
        names = subset.of(parents)
    hidden = len(relative) - len(parents)
    notes = [f"{hidden} hidden files were skipped"] if hidden else []
    if labelled and not all(parents.values()):
        notes.append(f"{list(parents.values()).count('')} images are in no subfolder and have no label")

    def prepare(name: str) -> bytes:
        try:
            payload = (source / name).read_bytes()
        except OSError as error:
            raise DataError(str(error)) from error
        images.load(payload)
        return payload

    def items() -> Iterator[Item]:
        for name in names:
            identity = os.fsencode(name).decode("utf-8", "backslashreplace")  # file names need not be UTF-8
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
    """Yield each image (1, h, w) of an idx3 file."""
    try:
        with binary(path) as stream:
            count, height, width = _idx_header(stream, path, 3)
            for index in range(count):
                pixels = stream.read(height * width)
                if len(pixels) < height * width:
                    raise DataError(f"{path} should hold {count} images, but ends in image {index}; is it truncated?")
                yield np.frombuffer(pixels, np.uint8).reshape(1, height, width)
    except UNREADABLE as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _smallest_encoding(pixels: npt.NDArray[np.uint8]) -> bytes:
    return min(images.encode_png(pixels), images.encode_webp(pixels), key=len)


def idx_files(path: Path, labelled: bool) -> Source:
    """The images of an idx3 file, with the labels of the idx1 file beside it if there is one."""
    match = IDX.fullmatch(path.name)
    split = match["split"] if match else path.stem
    try:
        with binary(path) as stream:
            total = _idx_header(stream, path, 3)[0]
    except UNREADABLE as error:
        raise DataError(f"cannot read {path}: {error}") from error
    stem = path.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    label_file = next((path.with_name(name) for name in (stem, f"{stem}.gz") if path.with_name(name).is_file()), None)
    labels = read_idx_labels(label_file) if labelled and label_file else None
    if labels is not None and len(labels) != total:
        raise DataError(f"{path.name} holds {total} images, but the label file beside it holds {len(labels)} labels")

    def items() -> Iterator[Item]:
        for index, pixels in enumerate(read_idx_images(path)):
            yield Item(f"{split}-{index:05d}", pixels, None if labels is None else str(labels[index]))

    return Source(
        kind="image",
        items=items(),
        prepare=_smallest_encoding,
        labelled=labels is not None,
        total=total,
        classes=None if labels is None else tuple(map(str, range(max(10, int(labels.max(initial=0)) + 1)))),
        channels=1,
        slow=True,
        notes=[f"no label file beside {path.name}"] if labelled and label_file is None else [],
    )
