"""Room on the disk for what the runs of a recipe keep."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

from xal.core.paths import remote
from xal.errors import ResourceError


def check_disk(needed: int, directory: Path) -> None:
    """Raise ResourceError if fewer bytes are free on the disk of `directory`, which need not exist yet."""
    if remote(directory):
        return
    existing = next(path for path in [directory.absolute(), *directory.absolute().parents] if path.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise ResourceError(
            f"the runs will keep about {size_of(needed)} (a model a round), and {existing} has {size_of(free)} free; "
            "free some space, choose another --out, or fewer rounds, arms or seeds"
        )


def size_of(size: float) -> str:
    """Bytes as text, such as 12 MB."""
    power = min(int(math.log10(max(size, 1)) // 3), 4)
    return f"{size / 1000**power:.0f} {('B', 'KB', 'MB', 'GB', 'TB')[power]}"
