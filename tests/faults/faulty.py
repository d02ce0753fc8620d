"""Strategies that fail on some items, each in its own way. What they score otherwise is a hash of the id."""

import errno
import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from xal.core.rng import HashRng
from xal.strategies.strategy import Scores, Strategy
from xal.types import Evidence


@dataclass(frozen=True, kw_only=True)
class Sound(Strategy):
    """Never fails; waits a while for each batch."""

    seconds: float = 0.0

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        time.sleep(self.seconds)
        return HashRng(0).uniform(evidence.ids)


@dataclass(frozen=True, kw_only=True)
class Raising(Sound):
    """Raises where a batch holds one of the items."""

    items: tuple[str, ...] = ()

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        bad = [item for item in evidence.ids if item in self.items]
        if bad:
            raise ValueError(f"cannot score {bad[0]}")
        return super().score(evidence, state, rng)


@dataclass(frozen=True, kw_only=True)
class DiskFull(Sound):
    """Writes to a full disk."""

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        raise OSError(errno.ENOSPC, "No space left on device", "/cache/x")


@dataclass(frozen=True, kw_only=True)
class Greedy(Sound):
    """Has memory for so many items at once."""

    capacity: int = 1

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        if len(evidence) > self.capacity:
            raise MemoryError(f"{len(evidence)} items")
        return super().score(evidence, state, rng)


@dataclass(frozen=True, kw_only=True)
class Deadly(Sound):
    """Its process does not survive one of the items, as where the kernel kills it for want of memory."""

    items: tuple[str, ...] = ()

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        if any(item in self.items for item in evidence.ids):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().score(evidence, state, rng)
