"""A source that a pool is built from: a sequence of items, whose payloads are read only when they are prepared."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from xal.types import Kind

UNREADABLE = (OSError, EOFError, zlib.error)  # raised by plain or gzip files that are missing, truncated or damaged


@dataclass(frozen=True)
class Item:
    """One item of a source; `reason` says why it cannot be read, and is empty if it can."""

    id: str
    raw: Any = None
    label: str | None = None
    reason: str = ""
    relevance: tuple[int, ...] = ()  # components of the payload that matter, or that do not


@dataclass(frozen=True, kw_only=True)
class Source:
    """Items in a fixed order; `prepare` reads a payload, and raises DataError if it is unreadable."""

    kind: Kind
    items: Iterator[Item]
    prepare: Callable[[Any], bytes | str]
    labelled: bool
    total: int
    classes: tuple[str, ...] | None = None  # None: the distinct labels of the written items, sorted
    channels: int | None = None
    width: int = 0  # number of features
    names: tuple[str, ...] = ()  # names of the features
    relevance: str | None = None  # "relevant" or "irrelevant": what `Item.relevance` lists; None: nothing
    slow: bool = False  # whether items are prepared in threads
    notes: list[str] = field(default_factory=list)


def binary(path: Path) -> IO[bytes]:
    """Open a file to read bytes, decompressed if its name is `*.gz`."""
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")
