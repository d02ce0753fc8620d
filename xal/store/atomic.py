"""Atomic writes: files are written to a temporary folder, synced, then renamed, so a name implies whole content."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from xal.core.failures import is_storage_error, known_error
from xal.core.paths import remote, remove
from xal.errors import ResourceError, RunError


@contextmanager
def writing(directory: Path, name: str) -> Iterator[Path]:
    """A temporary folder that becomes `directory/name` when the block ends without an error.

    It replaces what an earlier attempt left under that name. Raises ResourceError if the disk is full.
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
        while final != directory:  # every folder that may have a new entry
            final = final.parent
            _sync(final)
    except OSError as error:
        if not is_storage_error(error):
            raise
        raise ResourceError(f"{directory / name} was not written: {known_error(error)}") from error
    finally:
        remove(aside)


def write_text(path: Path, text: str) -> None:
    """Write a file aside and rename it: whole or not at all, and never through a link at its name."""
    if remote(path):
        path.write_text(text, encoding="utf-8")
        return
    aside = path.with_name(f".aside-{uuid.uuid4().hex}")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def sweep(directory: Path) -> None:
    """Remove temporary folders and files that a killed process left."""
    for leftover in [] if remote(directory) else directory.glob(".aside-*"):
        if leftover.is_dir() and not leftover.is_symlink():
            remove(leftover)
        else:
            leftover.unlink(missing_ok=True)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Lock a run directory; raises RunError if another process has the lock.

    The kernel releases the lock when the process ends.
    """
    directory.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(directory / ".lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise RunError(f"{directory} is in use by another xal; wait for it, or stop it") from error
    except (PermissionError, NotImplementedError) as error:
        raise RunError(f"{directory} cannot be written here: {error}") from error
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        raise RunError(f"{directory} is on a read-only file system") from error
    try:
        yield
    finally:
        lock.release()


def copy_folder(source: Path, destination: Path) -> None:
    """Copy every file of a folder, at any depth."""
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
