"""glibc is told to keep what is freed; elsewhere nothing happens."""

import platform
import subprocess
import sys


def test_glibc_takes_both_settings() -> None:
    """In a process of its own: it lasts."""
    code = "from xal.core.malloc import keep_freed_memory as keep; print(keep(), keep())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert told == [str(platform.libc_ver()[0] == "glibc")] * 2
