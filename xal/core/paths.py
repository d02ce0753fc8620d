"""Paths on local disks, NFS, or any fsspec file system by URL (s3://, gs://, ...), all with the interface of Path.

Credentials and endpoints come from the environment, as for other S3 or GCS tools, and are never written to a recipe or
run.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

import fsspec
from pyarrow.fs import FSSpecHandler, PyFileSystem

from xal.errors import DataError

SEPARATOR = "://"


def location(path: str | Path) -> Path:
    """The local path, or the path on the object store, that a string names; `file://` is local.

    Raises DataError for a URL whose file system is not installed.
    """
    if remote(path):
        return cast(Path, path)
    text = str(path)
    if isinstance(path, Path) or SEPARATOR not in text:
        return Path(path).expanduser()
    protocol, _, rest = text.partition(SEPARATOR)
    if protocol not in fsspec.available_protocols():
        raise DataError(f"{text}: no file system for '{protocol}://'; install the fsspec package for it")
    if protocol in ("file", "local"):
        return Path(rest)
    if not rest.strip("/"):
        raise DataError(f"{text}: names no bucket or folder")
    from upath import UPath

    try:
        return cast(Path, UPath(text.rstrip("/"), use_listings_cache=False))
    except ImportError as error:
        extra = {"s3": "xal-ray[s3]", "s3a": "xal-ray[s3]", "gs": "xal-ray[gcs]", "gcs": "xal-ray[gcs]"}.get(protocol)
        raise DataError(f"{text}: pip install '{extra or 'the fsspec package for it'}' ({error})") from error


def remote(path: object) -> bool:
    """Whether a path from `location` is on an object store."""
    return hasattr(path, "storage_options") and getattr(path, "protocol", "") not in ("", "file", "local")


def arrow(path: Path) -> tuple[str, Any]:
    """(path, file system) in pyarrow's form; the file system is None for a local path."""
    if not remote(path):
        return str(path), None
    upath = cast(Any, path)
    return upath.path, PyFileSystem(FSSpecHandler(upath.fs))


def remove(folder: Path) -> None:
    """Remove a folder and its content, if it exists."""
    if not remote(folder):
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists():
        cast(Any, folder).fs.rm(cast(Any, folder).path, recursive=True)
