"""A watch over the processes of a Ray that xal starts.

Where one of them is killed, Ray ends the whole program after a while, with a C++ log in place of a reason. The watch
says it in one sentence and ends the program first.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from contextlib import suppress
from pathlib import Path

import ray

from xal.engine.ray.private import head_processes

EXIT_STATUS = 2


class Watch:
    """Watches Ray's server processes until `stop`; each has a thread, to be faster than Ray."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder  # Ray's private folder, removed if it dies
        self._processes = head_processes()
        self._stopped = threading.Event()
        for name, process in self._processes:
            threading.Thread(target=self._watch, args=(name, process.pid), name=f"watch {name}", daemon=True).start()

    def stop(self) -> None:
        """Stop watching; called before Ray is shut down."""
        self._stopped.set()

    def _watch(self, name: str, pid: int) -> None:
        with suppress(ChildProcessError):  # Ray has reaped it
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # leaves the exit status to Ray
        if not self._stopped.is_set() and ray.is_initialized():  # not after a user's own ray.shutdown()
            self._end(name)

    def _end(self, name: str) -> None:
        sys.stdout.flush()
        print(
            f"error: Ray's process {name} was killed or ran out of memory; what is committed is kept, repeat the "
            "command to continue (with fewer engine.actors or a smaller engine.object_store_mb if memory is short)",
            file=sys.stderr,
            flush=True,
        )
        for _, process in self._processes:
            process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(EXIT_STATUS)
