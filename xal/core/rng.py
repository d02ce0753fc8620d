"""Stateless random numbers: hashes of (seed, purpose, id).

A draw does not depend on the order of items, on shards, workers or restarts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pandas.util import hash_array

from xal.types import Ids


@dataclass(frozen=True)
class HashRng:
    """Random numbers for one purpose, such as `HashRng(seed).child("round", 3)`."""

    seed: int
    purpose: str = ""

    def child(self, *purpose: object) -> "HashRng":
        """An independent HashRng for a narrower purpose."""
        return HashRng(self.seed, "/".join([self.purpose, *map(str, purpose)]))

    @property
    def integer(self) -> int:
        """One integer in [0, 2^31), to seed a generator."""
        return int(self._key(), 16) % 2**31

    def uniform(self, ids: Ids) -> npt.NDArray[np.float64]:
        """(b,) uniform draws in [0, 1), one for each id: 53 bits of a keyed SipHash."""
        hashes = hash_array(np.asarray(ids, dtype=object), hash_key=self._key(), categorize=False)
        draws: npt.NDArray[np.float64] = (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return draws

    def _key(self) -> str:
        return hashlib.sha256(f"{self.seed}{self.purpose}".encode()).hexdigest()[:16]
