"""What a pool is built from, whatever its form: items one after another, their payloads read when prepared."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from xal.types import Kind

UNREADABLE = (OSError, EOFError, zlib.error)  # what a file raises, plain or gzip, that is gone, cut or damaged


@dataclass(frozen=True)
class Item:
    """One item of a source; `why` is set where it cannot be read at all."""

    id: str
    raw: Any = None
    label: str | None = None
    reason: str = ""
    relevance: tuple[int, ...] = ()  # components that matter, or do not, where the source says so


@dataclass(frozen=True, kw_only=True)
class Source:
    """Items in a fixed order and how to prepare their payload (DataError says why one cannot be read)."""

    kind: Kind
    items: Iterator[Item]
    prepare: Callable[[Any], bytes | str]
    labelled: bool
    total: int
    classes: tuple[str, ...] | None = None  # None: the distinct labels written, sorted
    channels: int | None = None
    width: int = 0  # number of features
    names: tuple[str, ...] = ()  # of the features
    relevance: str | None = None  # relevant or irrelevant: what the items say of their components; None: nothing
    slow: bool = False  # preparing is worth a thread
    notes: list[str] = field(default_factory=list)


def binary(path: Path) -> IO[bytes]:
    """The bytes of a file, unpacked if it is called `*.gz`."""
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")
