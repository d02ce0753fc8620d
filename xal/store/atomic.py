"""Write files aside, sync them, then rename: a name exists only when its content is whole."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from xal.core.paths import remote, remove
from xal.errors import ResourceError, RunError


@contextmanager
def writing(directory: Path, name: str) -> Iterator[Path]:
    """A temporary folder that becomes `directory/name` when the block ends without an error.

    What an earlier, uncommitted try left under that name is replaced. Raises ResourceError where the disk is full.
    """
    final = directory / name
    if remote(directory):
        remove(final)
        yield final
        return
    aside = directory / f".aside-{uuid.uuid4().hex}"
    aside.mkdir(parents=True)
    try:
        yield aside
        for path in [*aside.rglob("*"), aside]:
            _sync(path)
        remove(final)
        final.parent.mkdir(parents=True, exist_ok=True)
        aside.rename(final)
        while final != directory:  # every folder that may have got a new name in it
            final = final.parent
            _sync(final)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ResourceError(
            f"no space is left for {directory / name}; nothing of it was kept. Free some, and run again: what was "
            "committed before is kept"
        ) from error
    finally:
        remove(aside)


def sweep(directory: Path) -> None:
    """Remove what a killed process left half-written."""
    for leftover in [] if remote(directory) else directory.glob(".aside-*"):
        remove(leftover)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """One process at a time in a run directory; RunError for the second. The kernel frees it with the process."""
    directory.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise RunError(f"{directory} is in use by another xal; wait for it, or stop it") from error
    try:
        yield
    finally:
        lock.release()


def copy_folder(source: Path, destination: Path) -> None:
    """Every file of a folder."""
    for file in source.rglob("*"):
        if file.is_file():
            target = destination / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
