"""Bringing a lost or damaged SQLite ledger back from a copy."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from xal.errors import RunError, XalError
from xal.store.atomic import locked
from xal.store.database import SNAPSHOT, SQLITE
from xal.store.directory import is_pointed, refuse_links
from xal.store.ledger import Ledger


def restore_ledger(directory: Path, source: Path | None = None) -> int:
    """Bring a SQLite ledger back from a copy, by default its last snapshot; returns the number of its labels.

    The ledger that is there, if any, is kept under another name. Raises RunError if the copy is no whole ledger, or if
    the ledger is whole and has labels that the copy has not.
    """
    source = source or directory / SNAPSHOT
    if is_pointed(directory):
        raise RunError(f"the ledger of {directory} is in PostgreSQL; restore it with pg_restore")
    if not source.is_file():
        raise RunError(f"no copy of a ledger at {source}; `xal ledger backup` makes one")
    refuse_links(directory)
    with locked(directory), tempfile.TemporaryDirectory(dir=directory, prefix=".aside-") as folder:
        copy = Path(folder) / SQLITE
        shutil.copyfile(source, copy)
        labels = _labels_in(Path(folder))
        if labels is None:
            raise RunError(f"{source} is damaged or no ledger of xal, so it cannot be restored")
        present = _labels_in(directory) if (directory / SQLITE).is_file() else None
        if present is not None and present - labels:
            raise RunError(
                f"the ledger of {directory} is whole, and has {len(present - labels)} answers that {source} has not; "
                "nothing was changed"
            )
        kept = next(name for n in range(1, 10**6) if not (name := directory / f"ledger.replaced-{n}.sqlite").exists())
        for suffix in ("", "-wal", "-shm"):
            old = directory / f"{SQLITE}{suffix}"
            if old.exists():
                old.replace(kept.with_name(kept.name + suffix))
        copy.replace(directory / SQLITE)
    return len(labels)


def _labels_in(directory: Path) -> set[tuple[str, str, str]] | None:
    """(id, answer, label) of all answers of a SQLite ledger; None if it is damaged or empty."""
    if not (directory / SQLITE).stat().st_size:
        return None
    try:
        ledger = Ledger.at(directory)
        try:
            ledger.check()
            return {(row["id"], row["answer"], str(row["label"])) for row in ledger.answers()}
        finally:
            ledger.close()
    except XalError:
        return None
