"""Room on the disk for what the runs of a recipe keep."""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path

from xal.campaign.pools import Pools
from xal.campaign.recipe import Recipe
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


def check_scratch(recipe: Recipe, pools: Pools) -> None:
    """Raise ResourceError if $TMPDIR has no room for the training images of the last round, where they go there."""
    if not recipe.model.streams or pools.pool.kind != "image" or getattr(recipe.engine, "address", None) is not None:
        return
    counts = [recipe.budget.total, 0 if pools.validation is None else len(pools.validation)]
    sizes = [count * math.prod(pools.shape) for count in counts]
    needed = sum(size for size in sizes if size > recipe.engine.train_memory_mb * 2**20)
    folder = Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ResourceError(
            f"training in the last round needs {size_of(needed)} for decoded images, and {folder} has {size_of(free)} "
            "free; set TMPDIR to a larger disk, or raise engine.train_memory_mb to keep them in memory"
        )


def size_of(size: float) -> str:
    """Bytes as text, such as 12 MB."""
    power = min(int(math.log10(max(size, 1)) // 3), 4)
    return f"{size / 1000**power:.0f} {('B', 'KB', 'MB', 'GB', 'TB')[power]}"
