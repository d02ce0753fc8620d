"""A pool that is built, once, beside a folder of images or a table that a recipe names as its source."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from xal.core.paths import location, remote
from xal.core.tables import is_table
from xal.data.build.builder import build
from xal.errors import DataError
from xal.store.atomic import write_text

LISTING = "source.json"
MOST = 5  # lines of each list of items that were left out


def built_pool(source: str) -> tuple[str, list[str]]:
    """(the pool, notes) of a source: itself if it is a pool, else the pool beside it, which is built if there is none.

    Raises DataError if the source has changed since its pool was built, or cannot be read.
    """
    path = location(source)
    try:
        raw = not remote(path) and _is_raw(path)
    except (OSError, ValueError) as error:  # such as a name that is too long
        raise DataError(f"{source[:80]} cannot be a pool: {getattr(error, 'strerror', None) or error}") from error
    if not raw:
        return source, []
    pool = path.absolute().parent / f"{path.name}-pool"
    listing = _listing(path)
    if (pool / LISTING).exists():
        before = json.loads((pool / LISTING).read_text(encoding="utf-8"))
        if before == listing:
            return str(pool), []
        new, gone = set(listing) - set(before), set(before) - set(listing)
        changed = sum(before[name] != listing[name] for name in set(listing) & set(before))
        raise DataError(
            f"{source} has changed since the pool {pool} was built from it: {len(new)} files are new, {len(gone)} are "
            f"gone, {changed} have another size or time. Go on with that pool (pool.source: {pool}), or remove it to "
            "build it anew, for new runs"
        )
    if pool.exists():
        raise DataError(f"{pool} exists and was not built from {source}; name the pool in pool.source, or move it away")
    report = build(path, pool)
    write_text(pool / LISTING, json.dumps(listing))
    return str(pool), report.lines(pool, MOST)


def _is_raw(path: Path) -> bool:
    """Whether this is a folder without Parquet files, or a table that is no pool."""
    if path.is_dir():
        return not any(path.glob("*.parquet"))
    return path.is_file() and (is_table(path) or path.name.lower().endswith((".jsonl", ".jsonl.gz", ".ndjson")))


def _listing(path: Path) -> dict[str, str]:
    """What tells cheaply whether files changed: a digest of size and time by name."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return {
        str(file.relative_to(path.parent)): hashlib.sha256(
            f"{file.stat().st_size} {file.stat().st_mtime_ns}".encode()
        ).hexdigest()[:8]
        for file in files
    }
