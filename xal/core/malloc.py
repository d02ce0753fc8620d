"""Memory of CPU processes that do little but forwards.

glibc hands large freed blocks back to the system at once, and the next forward faults the same pages in again. A
process that is all ours keeps them.
"""

from __future__ import annotations

import ctypes
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)


@cache
def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed, for the rest of the process; False where there is no glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    mapped = mallopt(M_MMAP_THRESHOLD, 2**30) or mallopt(M_MMAP_THRESHOLD, 2**25)  # the most that an older glibc takes
    trimmed = mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    return bool(mapped and trimmed)
