"""Where files lie: a local path, NFS, or any fsspec file system by URL (s3://, gs://, ...), all used as a Path is.

Credentials and endpoints are the environment's, as every S3 or GCS tool reads them; none is written to a recipe or run.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

import fsspec
from pyarrow.fs import FSSpecHandler, PyFileSystem

from xal.errors import DataError

SEPARATOR = "://"


def location(place: str | Path) -> Path:
    """A local path, or a path on the object store that a URL names; `file://` is local.

    Raises DataError for a URL that no installed file system opens.
    """
    if remote(place):
        return cast(Path, place)
    text = str(place)
    if isinstance(place, Path) or SEPARATOR not in text:
        return Path(place).expanduser()
    protocol, _, rest = text.partition(SEPARATOR)
    if protocol not in fsspec.available_protocols():
        raise DataError(f"{text}: no file system for '{protocol}://'; install the fsspec package for it")
    if protocol in ("file", "local"):
        return Path(rest)
    from upath import UPath

    try:
        return cast(Path, UPath(text.rstrip("/"), use_listings_cache=False))
    except ImportError as error:
        extra = {"s3": "xal-ray[s3]", "s3a": "xal-ray[s3]", "gs": "xal-ray[gcs]", "gcs": "xal-ray[gcs]"}.get(protocol)
        raise DataError(f"{text}: pip install '{extra or 'the fsspec package for it'}' ({error})") from error


def remote(place: object) -> bool:
    """Whether a path that `location` gave is on an object store."""
    return hasattr(place, "storage_options") and getattr(place, "protocol", "") not in ("", "file", "local")


def arrow(path: Path) -> tuple[str, Any]:
    """(path, file system) as pyarrow takes them; the file system of a local path is None."""
    if not remote(path):
        return str(path), None
    place = cast(Any, path)
    return place.path, PyFileSystem(FSSpecHandler(place.fs))


def remove(folder: Path) -> None:
    """A folder with all that is in it, if there is one."""
    if not remote(folder):
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists():
        cast(Any, folder).fs.rm(cast(Any, folder).path, recursive=True)
