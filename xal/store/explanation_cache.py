"""Explanations once computed, by item: for one model and explainer, a folder that all workers see.

A file holds what one batch came to. A worker that lacks an item looks for new files once, then computes.
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
    """The explanations in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: set[Path] = set()
        self._where: dict[str, Path] = {}

    def get(self, ids: Sequence[str]) -> tuple[list[str], list[Explanations]]:
        """(ids, explanations in that order, a part a file) of those that are there."""
        if any(item not in self._where for item in ids):
            self._look()
        found: list[str] = []
        parts: list[Explanations] = []
        for path in dict.fromkeys(self._where[item] for item in ids if item in self._where):
            names, explanations = _read(path)
            place = {name: number for number, name in enumerate(names)}
            wanted = [item for item in ids if self._where.get(item) == path]
            found += wanted
            parts.append(explanations.take([place[item] for item in wanted]))
        return found, parts

    def put(self, ids: Sequence[str], explanations: Explanations) -> None:
        """Keep a batch; the file appears whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{uuid.uuid4().hex}.npz"
        if remote(self.folder):
            write_explanations(self.folder / name, ids, explanations)
            return
        aside = self.folder / f".{name}"
        write_explanations(aside, ids, explanations, compressed=False)
        aside.rename(self.folder / name)

    def _look(self) -> None:
        new = set(self.folder.glob("[!.]*.npz")) - self._files if self.folder.exists() else set()
        for path in sorted(new):
            try:
                ids = _read(path)[0]
            except (EOFError, ValueError, KeyError, OSError, BadZipFile):  # cut by a power failure: computed again
                continue
            self._where.update(dict.fromkeys(ids, path))
        self._files |= new


@lru_cache(maxsize=4)
def _read(path: Path) -> tuple[list[str], Explanations]:
    return read_explanations(path)
