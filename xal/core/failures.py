"""What errors of the operating system, and of libraries that read and write files, mean for the user: the one place.

Modules that know more, such as which file is damaged and how to bring it back, raise their own errors first.
"""

from __future__ import annotations

import errno
import resource
import sys

from xal.errors import DataError, ResourceError, XalError

FULL = {errno.ENOSPC, errno.EDQUOT}
ADVICE = {
    errno.EFBIG: "a file may not become larger here; raise the limit (ulimit -f), or write elsewhere",
    errno.EIO: "the disk fails; check it, or write elsewhere",
    errno.EROFS: "the file system is read-only; write elsewhere",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
    errno.ESTALE: "the network file system has lost the file; run again",
    errno.ENAMETOOLONG: "shorten the name",
}
LIBRARIES = {
    "sqlite3": ("Error",),
    "sqlalchemy.exc": ("SQLAlchemyError",),
    "pyarrow.lib": ("ArrowException",),
    "safetensors": ("SafetensorError",),
    "zipfile": ("BadZipFile",),
    "zlib": ("error",),
    "yaml": ("YAMLError",),
    "fsspec.exceptions": ("FSTimeoutError",),
    "botocore.exceptions": ("BotoCoreError", "ClientError"),
}
"""Modules whose errors are about a file or a database, not about xal. They are looked up only if they are imported."""


def is_storage_error(error: BaseException) -> bool:
    """Whether a disk, a file or a database failed, so that no item is to blame; decoders' OSErrors have no number."""
    return (isinstance(error, OSError) and error.errno is not None) or _library(error) is not None


def known_error(error: BaseException) -> XalError | None:
    """The error in one sentence, with what to do; None: it is a fault of xal or of a component."""
    if isinstance(error, XalError):
        return error
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return ResourceError(f"the memory does not suffice ({error}); lower batch_size, or use a larger machine")
    if isinstance(error, OSError) and error.errno is not None:
        return _storage_error(error)
    library = _library(error)
    if library is None:
        return None
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return DataError(f"{library} cannot read or write a file or database: {reason[0]}")


def _library(error: BaseException) -> str | None:
    """The library of LIBRARIES whose error it is."""
    for module, names in LIBRARIES.items():
        if module in sys.modules and isinstance(error, tuple(getattr(sys.modules[module], name) for name in names)):
            return module.split(".")[0]
    return None


def _storage_error(error: OSError) -> ResourceError:
    where = "" if error.filename is None else f"{error.filename}: "
    if error.errno in FULL:
        return ResourceError(
            f"{where}no space is left; free some space and run again: what is committed is kept ({error.strerror})"
        )
    advice = ADVICE.get(error.errno or 0)
    return ResourceError(f"{where}{error.strerror or error}" + (f"; {advice}" if advice else ""))


def file_size_limit() -> int | None:
    """The most bytes that a file of this process may have; None: there is no limit."""
    soft = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if soft == resource.RLIM_INFINITY else soft
