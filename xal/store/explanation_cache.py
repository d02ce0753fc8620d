"""A cache of explanations by one model and explainer, in a folder that all workers see.

A file holds the explanations of one batch. A worker that lacks an item looks for new files once, then computes it.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile

from xal.core.paths import remote
from xal.store.artefacts import read_explanations, write_explanations
from xal.types import Explanations


class ExplanationCache:
    """The cached explanations in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: set[Path] = set()
        self._file_of: dict[str, Path] = {}

    def get(self, ids: Sequence[str]) -> tuple[list[str], list[Explanations]]:
        """(ids, explanations) of the cached items; the explanations in the order of the ids, one part for each file."""
        if any(item not in self._file_of for item in ids):
            self._scan()
        cached: list[str] = []
        parts: list[Explanations] = []
        for path in dict.fromkeys(self._file_of[item] for item in ids if item in self._file_of):
            file_ids, explanations = _read(path)
            index_of = {item: index for index, item in enumerate(file_ids)}
            selected = [item for item in ids if self._file_of.get(item) == path]
            cached += selected
            parts.append(explanations.take([index_of[item] for item in selected]))
        return cached, parts

    def put(self, ids: Sequence[str], explanations: Explanations) -> None:
        """Cache the explanations of a batch; the file appears only when it is complete."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{uuid.uuid4().hex}.npz"
        if remote(self.folder):
            write_explanations(self.folder / name, ids, explanations)
            return
        aside = self.folder / f".{name}"
        write_explanations(aside, ids, explanations, compressed=False)
        aside.rename(self.folder / name)

    def _scan(self) -> None:
        """Index the files that appeared since the last scan."""
        new = set(self.folder.glob("[!.]*.npz")) - self._files if self.folder.exists() else set()
        for path in sorted(new):
            try:
                ids = _read(path)[0]
            except (EOFError, ValueError, KeyError, OSError, BadZipFile):  # truncated by a power failure
                continue
            self._file_of.update(dict.fromkeys(ids, path))
        self._files |= new


@lru_cache(maxsize=4)
def _read(path: Path) -> tuple[list[str], Explanations]:
    return read_explanations(path)
