"""Errors of libraries and of the operating system, as one sentence."""

import errno
import sqlite3
import zipfile

import pyarrow as pa
import pytest

from xal.core.failures import is_storage_error, known_error
from xal.errors import DataError, ResourceError, XalError


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/runs/a"), ResourceError, "/runs/a: no space is left; free"),
        (OSError(errno.EFBIG, "File too large"), ResourceError, "File too large; .*ulimit -f"),
        (OSError(errno.EIO, "Input/output error", "/mnt/x"), ResourceError, "/mnt/x: .*the disk fails"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/a"), ResourceError, "/a: No such file"),
        (MemoryError("Unable to allocate 3 GiB"), ResourceError, "memory does not suffice .*3 GiB"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), ResourceError, "memory does not suffice"),
        (sqlite3.OperationalError("disk I/O error"), DataError, "sqlite3 cannot .* disk I/O error"),
        (pa.ArrowInvalid("Parquet magic bytes not found\nmore"), DataError, "pyarrow .* not found$"),
        (zipfile.BadZipFile("File is not a zip file"), DataError, "zipfile .* not a zip file"),
        (XalError("known"), XalError, "^known$"),
    ],
)
def test_known_errors_are_one_sentence(error: Exception, kind: type, text: str) -> None:
    known = known_error(error)
    assert isinstance(known, kind) and "\n" not in str(known)
    with pytest.raises(kind, match=text):
        raise known


def test_faults_of_ours_and_broken_items_are_not_explained_away() -> None:
    assert known_error(TypeError("unsupported operand")) is None and known_error(KeyError("x")) is None
    assert is_storage_error(sqlite3.OperationalError("disk I/O error"))  # as of a cache of vectors
    assert not is_storage_error(OSError("image file is truncated"))  # as decoders raise it
