"""The folder of a Ray that xal starts: closed to other users of the machine, and gone when Ray has stopped.

Ray makes its session folder and its sockets writable for all, whatever the umask. They lie in a folder of mode 700,
whose name is short because the path of a socket may have 107 characters.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import ray

from xal.engine.ray.watch import Watch

_folders: list[Path] = []
_watches: list[Watch] = []


def private_folder() -> Path:
    """A new folder for a Ray session, removed at the end of this process at the latest."""
    base = "/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()  # $TMPDIR may be too long for sockets
    folder = Path(tempfile.mkdtemp(prefix=f"xal-{os.getpid()}-", dir=base))
    if not _folders:
        atexit.register(stop_private_ray)
    _folders.append(folder)
    _remove_strays(folder.parent)
    return folder


def close_to_others(folder: Path) -> None:
    """Take the permissions of other users from what Ray made in the folder."""
    for path in [*folder.glob("session_*"), *folder.glob("session_*/*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)


def watch(folder: Path) -> None:
    """Watch over the Ray that runs in the folder, until it is removed."""
    _watches.append(Watch(folder))


def stop_private_ray() -> None:
    """Stop this process's Ray, if it still runs, and remove its folders."""
    while _watches:
        _watches.pop().stop()
    if _folders and ray.is_initialized():
        ray.shutdown()
    while _folders:
        shutil.rmtree(_folders.pop(), ignore_errors=True)


def _remove_strays(parent: Path) -> None:
    """Remove the folders of this user's processes that were killed."""
    for folder in parent.glob("xal-*-*"):
        pid = folder.name.split("-")[1]
        dead = pid.isdecimal() and Path("/proc/self").exists() and not Path(f"/proc/{pid}").exists()
        if dead and folder.lstat().st_uid == os.getuid() and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
