"""Build a pool: check every item of a source and write it to Parquet, row group by row group.

Only ids and hashes are held in memory. Items that are left out are counted and listed with the reason.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from xal.core.tables import is_table
from xal.data.build.image_sources import IDX, Subset, idx_files, image_folder
from xal.data.build.source import Item, Source
from xal.data.build.table_sources import csv_table, json_lines, parquet_table
from xal.data.build.treebank import is_treebank, treebank
from xal.data.build.writer import PoolWriter
from xal.errors import DataError

ACCEPTED = (
    "a folder of images, idx files (*-images-idx3-ubyte[.gz]), a .csv, .tsv, .xlsx or .jsonl (also .gz) with text, "
    "a .csv, .tsv, .xlsx or .parquet with columns of numbers, or the trees of SST (.txt[.gz])"
)
Duplicates = Literal["drop", "keep"]
_CHUNK = 64  # items prepared at a time, which bounds the payloads in memory


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """How many items were written to a pool, and which were left out."""

    written: int
    read: int  # items of the source
    unreadable: tuple[tuple[str, str], ...]  # (id, reason)
    duplicates: tuple[tuple[str, str], ...]  # (id, id of the item that was kept); equal if the id itself occurred twice
    renamed: int  # items that got another id because different items had the same one
    conflicts: tuple[tuple[str, str], ...]  # duplicates whose label differs from that of the item that was kept
    notes: tuple[str, ...]

    def lines(self, destination: Path, most: int | None = None) -> list[str]:
        """What was read, kept and left out, and why; of each list at most `most` lines, None: all."""
        unreadable = [f"unreadable: {name}: {reason}" for name, reason in self.unreadable]
        duplicates = [f"duplicate: {name} is the same as {same}" for name, same in self.duplicates]
        lines = []
        for listed in (unreadable, duplicates):
            lines += listed[:most]
            if most is not None and len(listed) > most:
                lines.append(f"... and {len(listed) - most:,} more")
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"conflict: {name} is the same as {same}, with another label" for name, same in self.conflicts[:10]]
        if self.renamed:
            lines.append(f"note: {self.renamed:,} items had the id of a different item; they are named id#2, id#3, ...")
        left_out = f"{len(unreadable):,} unreadable, {len(duplicates):,} duplicates"
        if self.conflicts:
            left_out += f", of which {len(self.conflicts):,} have another label"
        return [*lines, f"{self.written:,} items in {destination}, of {self.read:,} read; left out: {left_out}"]


def build(
    source: Path,
    destination: Path,
    *,
    files: int = 1,
    id_column: str = "id",
    label_column: str | None = "label",
    text_column: str | None = None,
    subset: Subset | None = None,
    where: dict[str, str] | None = None,
    sample: int | None = None,
    labels_file: Path | None = None,
    ids: Literal["column", "row"] = "column",
    duplicates: Duplicates | None = None,
    drop: Sequence[str] = (),
    progress: Callable[[int, int | None], None] | None = None,
) -> BuildReport:
    """Build the pool `destination`: a folder of `files` Parquet files, or a single file if it is named `*.parquet`.

    sample: number of items of the source to draw at random, always the same ones. labels_file: a table with the
    names of a folder's images and their labels. ids: "row": the name of the file and the number of the row. duplicates:
    "drop" leaves out an item that equals an earlier one, "keep" keeps it; None: "keep" for columns of numbers, where
    equal rows are different things, else "drop"; an item with a label is never dropped for one without. Different items
    of one id are all kept: the later ones are named id#2, id#3, ... drop: columns of a table to leave out. progress: is
    called with (items done, total items). If an error is raised, nothing is left at `destination`.
    """
    source, destination = Path(source), Path(destination)
    single = destination.suffix == ".parquet"
    if destination.exists():
        raise DataError(f"{destination} exists; remove it or build the pool elsewhere")
    if files < 1 or (single and files > 1):
        raise DataError(
            f"requested {files} files for {destination}; expected at least 1, and exactly 1 for a name *.parquet"
        )
    opened = open_source(source, id_column, label_column, text_column, subset, where, labels_file, drop)
    if ids == "row":
        opened = replace(opened, items=_named_by_row(source, opened))
    if sample is not None:
        opened = _sampled(opened, sample)
    destination.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{destination.name}-", dir=destination.parent))
    try:
        folder = staging / "pool"
        folder.mkdir()  # with the permissions of the umask, unlike the temporary folder
        keep = (duplicates or ("keep" if opened.kind == "features" else "drop")) == "keep"
        report = _write(opened, folder, files, keep, progress or (lambda done, total: None))
        if not report.written:
            reasons = "; ".join(f"{identity}: {reason}" for identity, reason in report.unreadable[:3]) or "it is empty"
            raise DataError(f"no item of {source} can be read, so there is no pool to build: {reasons}")
        os.replace(next(folder.iterdir()) if single else folder, destination)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return report


def open_source(
    source: Path,
    id_column: str,
    label_column: str | None,
    text_column: str | None,
    subset: Subset | None = None,
    where: dict[str, str] | None = None,
    labels_file: Path | None = None,
    drop: Sequence[str] = (),
) -> Source:
    """Open a source, whose form is recognised by its name and content; `label_column` None ignores all labels.

    subset: which images to take from a folder. where: take only the records of JSON lines that have these values.
    Raises DataError if the form is not recognised or does not support an option.
    """
    if not source.exists():
        raise DataError(f"nothing at {source}; a pool is built from {ACCEPTED}")
    if subset is not None and (not source.is_dir() or label_column is None):
        raise DataError(f"classes can be chosen from a folder of class folders, with labels; {source} is not one")
    if labels_file is not None and not source.is_dir():
        raise DataError(f"--labels names the labels of a folder of images; {source} is not one")
    if drop and not (is_table(source) or source.name.lower().endswith(".parquet")):
        raise DataError(f"columns can be left out (--drop) of a table; {source} is something else")
    if source.is_dir():
        idx = sorted(file for file in source.iterdir() if IDX.fullmatch(file.name))
        if len(idx) > 1:
            raise DataError(f"{source} holds {[file.name for file in idx]}; name the one to build from")
        if idx:
            return idx_files(idx[0], label_column is not None)
        return image_folder(source, label_column is not None, subset, labels_file, label_column or "label")
    if IDX.fullmatch(source.name):
        return idx_files(source, label_column is not None)
    name = source.name.lower().removesuffix(".gz")
    if name.endswith((".jsonl", ".ndjson")):
        return json_lines(source, id_column, label_column, text_column, where or {})
    if where:
        raise DataError(f"records can be chosen (--where) from JSON lines; {source} is something else")
    if name.endswith(".txt") and is_treebank(source):
        return treebank(source, label_column is not None)
    if is_table(source):
        return csv_table(source, id_column, label_column, text_column, drop)
    if source.name.lower().endswith(".parquet"):
        return parquet_table(source, id_column, label_column, text_column, drop)
    raise DataError(f"cannot tell what {source} is; expected {ACCEPTED}")


def _sampled(source: Source, number: int) -> Source:
    if number > source.total:
        raise DataError(f"{number:,} items cannot be drawn (--sample) from {source.total:,}; lower --sample")
    chosen = np.zeros(source.total, bool)
    chosen[np.random.default_rng(0).permutation(source.total)[:number]] = True
    return replace(source, items=itertools.compress(source.items, chosen.tolist()), total=number)


def _named_by_row(source: Path, opened: Source) -> Iterator[Item]:
    """The items, with the file's name and the row, from 0, as ids."""
    for row, item in enumerate(opened.items):
        yield item if item.reason else replace(item, id=f"{source.name}:{row}")


def _write(
    source: Source, folder: Path, files: int, keep: bool, progress: Callable[[int, int | None], None]
) -> BuildReport:
    ids: set[str] = set()
    again: dict[str, int] = {}  # how often an id came with different items
    payloads: dict[bytes, tuple[str, str | None]] = {}  # sha256 -> (id, label) of the item that was kept
    labels: set[str] = set()
    unreadable: list[tuple[str, str]] = []
    duplicates: list[tuple[str, str]] = []
    conflicts: list[tuple[str, str]] = []
    read = renamed = labelled_again = 0
    writers: dict[int, PoolWriter] = {}
    try:
        for position, (item, payload, reason) in enumerate(_prepared(source)):
            read += 1
            if position % _CHUNK == 0:
                progress(position, source.total)
            if payload is None:
                unreadable.append((item.id, reason))
                continue
            label = item.label if item.label and item.label.strip() else None
            digest = hashlib.sha256(payload.encode() if isinstance(payload, str) else payload).digest()
            new = digest not in payloads
            if not new:
                original, kept_label = payloads[digest]
                if not keep or original == item.id:
                    if label is None or kept_label is not None:
                        duplicates.append((item.id, original))
                        if label is not None and kept_label != label:
                            conflicts.append((item.id, original))
                        continue
                    payloads[digest] = original, label  # kept, too, for its label
                    labelled_again += 1
            identity = item.id
            while identity in ids:
                again[item.id] = again.get(item.id, 1) + 1
                identity = f"{item.id}#{again[item.id]}"
            if new:
                payloads[digest] = identity, label
            renamed += identity != item.id
            ids.add(identity)
            if label is not None:
                labels.add(label)
            part = min(position * files // max(source.total, 1), files - 1)
            if part not in writers:
                path = folder / f"part-{part:05d}.parquet"
                writers[part] = PoolWriter(
                    path, source.kind, labelled=source.labelled, width=source.width, relevance=source.relevance
                )
            writers[part].add(identity, payload, label, item.relevance if source.relevance else None)
        progress(source.total, source.total)
    finally:  # all files stay open until the classes are known
        classes = sorted(labels) if source.classes is None else source.classes
        for writer in writers.values():
            writer.close(classes, source.channels, source.names)
    notes = [*source.notes]
    if labelled_again:
        notes.append(f"{labelled_again:,} items equal an earlier one without a label; both are kept")
    return BuildReport(
        written=len(ids),
        read=read,
        unreadable=tuple(unreadable),
        duplicates=tuple(duplicates),
        renamed=renamed,
        conflicts=tuple(conflicts),
        notes=tuple(notes),
    )


def _prepared(source: Source) -> Iterator[tuple[Item, bytes | str | None, str]]:
    def prepare(item: Item) -> tuple[Item, bytes | str | None, str]:
        if item.reason:
            return item, None, item.reason
        try:
            return item, source.prepare(item.raw), ""
        except DataError as error:
            return item, None, str(error)

    if not source.slow:
        yield from map(prepare, source.items)
        return
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        while chunk := list(itertools.islice(source.items, _CHUNK)):
            yield from threads.map(prepare, chunk)
