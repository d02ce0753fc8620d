"""Image sources of a pool: a folder of image files, or MNIST-style idx files."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from xal.core import tables
from xal.core.registry import nearest
from xal.data import images
from xal.data.build.source import UNREADABLE, Item, Source, binary
from xal.errors import DataError

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".webp", ".gif", ".tif", ".tiff", ".avif", ".heic"}
    | {".heif", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k"}
)
"""Of files that are taken for images; a file without suffix is, if its first bytes are those of an image."""
DATES = re.compile(r"(19|20)\d\d([-_.]?(0[1-9]|1[0-2])([-_.]?[0-3]\d)?)?")
SPLITS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation", "dev"})
LABELS_FILES = ("labels.csv", "labels.tsv", "labels.xlsx")
NAME_COLUMNS = ("file", "filename", "file_name", "image", "image_id", "path", "name", "id")
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


@dataclass(frozen=True, kw_only=True)
class _Folder:
    """The files under a folder, links followed; names are relative paths."""

    images: list[str]
    hidden: int
    linked: int
    others: Counter[str]
    """Files that are no images, by suffix."""

    @classmethod
    def of(cls, source: Path) -> _Folder:
        images, hidden, linked, others = [], 0, 0, Counter[str]()
        seen: set[str] = set()
        for path, folders, files in os.walk(source, followlinks=True):
            if os.path.realpath(path) in seen:  # a link to a folder that was walked already
                folders.clear()
                continue
            seen.add(os.path.realpath(path))
            for file in files:
                whole = Path(path, file)
                name = whole.relative_to(source).as_posix()
                if any(part.startswith(".") for part in name.split("/")):
                    hidden += whole.suffix.lower() in IMAGE_SUFFIXES
                elif whole.is_file() and _is_image(whole):
                    images.append(name)
                    linked += _through_link(source, name)
                elif name not in LABELS_FILES:
                    others[whole.suffix.lower() or "without suffix"] += 1
        return cls(images=sorted(images), hidden=hidden, linked=linked, others=others)

    def notes(self) -> list[str]:
        """What was not read, and what was reached through links."""
        passed = ", ".join(f"{suffix} {count}" for suffix, count in sorted(self.others.items()))
        return [
            *([f"{self.hidden} hidden files were skipped"] if self.hidden else []),
            *([f"{self.others.total()} files were passed over, which are no images: {passed}"] if passed else []),
            *([f"{self.linked} images were reached through symbolic links"] if self.linked else []),
        ]


def _is_image(path: Path) -> bool:
    if path.suffix:
        return path.suffix.lower() in IMAGE_SUFFIXES
    try:
        images.shape_of(path.read_bytes())
    except (DataError, OSError):
        return False
    return True


def _through_link(source: Path, name: str) -> bool:
    path = source / name
    return any(part.is_symlink() for part in [path, *path.parents] if source in part.parents)


def _class_folders(names: list[str], notes: list[str]) -> dict[str, str]:
    """{name: its class folder}: the first folder of its path, below folders that hold everything; "" for no class.

    Folders named by dates are no classes. Raises DataError for folders named as the splits of a data set.
    """
    parts = {name: name.split("/")[:-1] for name in names}
    depth = 0
    shallowest = min(map(len, parts.values()))
    while depth < shallowest and len({tuple(each[: depth + 1]) for each in parts.values()}) == 1:
        depth += 1
    parents = {name: each[depth] if len(each) > depth else "" for name, each in parts.items()}
    folders = sorted({parent for parent in parents.values() if parent})
    if folders and all(folder.lower() in SPLITS for folder in folders):
        raise DataError(
            f"the folders {', '.join(folders)} are splits of a data set, not classes; build a pool from each of them"
        )
    if folders and all(DATES.fullmatch(folder) for folder in folders):
        notes.append(
            f"the folders {', '.join(folders[:3])}{', ...' if len(folders) > 3 else ''} are dates, not classes"
        )
        return dict.fromkeys(names, "")
    if not folders and depth:
        notes.append(f"all images are in one folder, which is no class: {'/'.join(parts[names[0]][:depth])}")
    return parents


def _labels_of(file: Path, names: list[str], label_column: str, notes: list[str]) -> dict[str, str]:
    """{name: its label} by a table with a column of names (paths, file names or file names without suffix)."""
    table = tables.open_table(file)
    column = next((name for name in NAME_COLUMNS if name in table.columns), None)
    if column is None or label_column not in table.columns:
        raise DataError(
            f"{file} has the columns {', '.join(table.columns)}; expected one of {', '.join(NAME_COLUMNS)} and "
            f"{label_column} (--label-column)"
        )
    at, to = table.columns.index(column), table.columns.index(label_column)
    known: dict[str, list[str]] = {}
    for name in names:
        path = Path(name)
        for key in {name, path.name, path.stem, path.with_suffix("").as_posix()}:
            known.setdefault(key, []).append(name)
    labels: dict[str, str] = {}
    unknown = 0
    for line, cells in table.rows():
        if isinstance(cells, str):
            raise DataError(f"{file}: line {line}: {cells}")
        found = known.get(cells[at].strip(), [])
        if len(found) > 1:
            raise DataError(f"{file}: line {line}: {len(found)} images are named {cells[at]}; give their paths")
        if not found:
            unknown += 1
            continue
        label = cells[to].strip()
        if labels.setdefault(found[0], label) != label:
            raise DataError(f"{file}: line {line}: {cells[at]} has another label on an earlier line")
    labels = {name: label for name, label in labels.items() if label}
    notes.append(
        f"labels from {file.name}: {len(labels)} of {len(names)} images"
        + (f"; {unknown} lines name no image" if unknown else "")
    )
    return labels


def image_folder(
    source: Path,
    labelled: bool,
    subset: Subset | None = None,
    labels_file: Path | None = None,
    label_column: str = "label",
) -> Source:
    """The images under a folder; ids are relative paths.

    Labels are those of `labels_file` (or of a file labels.csv in the folder), else the first folder of each path, as
    torchvision has it; without either, the images have no labels.
    """
    folder = _Folder.of(source)
    names, notes = folder.images, folder.notes()
    if not names:
        raise DataError(f"no images under {source}; expected {', '.join(sorted(IMAGE_SUFFIXES))} files or idx files")
    beside = next((source / name for name in LABELS_FILES if (source / name).is_file()), None)
    labels_file = labels_file or (beside if labelled and subset is None else None)
    if labels_file is not None:
        parents = _labels_of(labels_file, names, label_column, notes)
        parents = {name: parents.get(name, "") for name in names}
    else:
        parents = _class_folders(names, notes) if labelled else dict.fromkeys(names, "")
    labelled = labelled and any(parents.values())
    if subset is not None:
        names = subset.of(parents)
    if labelled and labels_file is None and not all(parents.values()):
        notes.append(f"{list(parents.values()).count('')} images are in no subfolder and have no label")

    def prepare(name: str) -> bytes:
        try:
            payload = (source / name).read_bytes()
        except OSError as error:
            raise DataError(str(error)) from error
        try:
            images.load(payload)
        except DataError as error:
            hint = "; convert it to JPEG" if name.lower().endswith((".heic", ".heif")) else ""
            raise DataError(f"{error}{hint}") from error
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
