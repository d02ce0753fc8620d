"""Where what can be computed again is kept between runs."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """$XAL_CACHE, else $XDG_CACHE_HOME/xal, else ~/.cache/xal; not made yet."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("XAL_CACHE") or Path(home) / "xal")
