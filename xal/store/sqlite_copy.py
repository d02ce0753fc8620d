"""Copies of a SQLite database that is in use, by SQLite's own backup."""

from __future__ import annotations

import os
import sqlite3
import uuid
from pathlib import Path

from xal.errors import ResourceError


def copy_database(source: sqlite3.Connection, destination: Path) -> None:
    """Copy a database to a file, whole or not at all; ResourceError where the file cannot be written."""
    aside = destination.with_name(f".aside-{uuid.uuid4().hex}")
    try:
        copy = sqlite3.connect(aside)
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
        copy.close()
        with aside.open("rb") as stream:
            os.fsync(stream.fileno())
        aside.replace(destination)
    except (sqlite3.Error, OSError) as error:
        if "is full" in str(error) or "No space left" in str(error):
            raise ResourceError(
                f"no space is left for the ledger's copy {destination}. Free some space and run again: all "
                "committed steps are kept"
            ) from error
        raise ResourceError(f"the copy {destination} of the ledger cannot be written: {error}") from error
    finally:
        aside.unlink(missing_ok=True)


def copy_in_memory(source: sqlite3.Connection) -> sqlite3.Connection:
    """A copy of a database in memory, which any thread may use."""
    memory = sqlite3.connect(":memory:", check_same_thread=False)
    source.backup(memory)
    memory.isolation_level = None
    return memory
