"""Indicators of equality: [x_i = x_j] for all i < j of a table's columns, as in CAIPI's colors experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xal.encoders.encoder import Encoder, Encoding, State
from xal.types import Kind, Matrix


@dataclass(frozen=True, kw_only=True)
class EqualPairs(Encoder, name="equal_pairs"):
    """Encodes d columns as d (d - 1) / 2 indicators, in the order of numpy's triu_indices."""

    @property
    def kind(self) -> Kind:
        """`features`."""
        return "features"

    def load(self, state: State) -> Encoding:
        """The encoder; it has no state."""
        return _Pairs()


class _Pairs(Encoding):
    def encode(self, texts: Any) -> Matrix:
        """(b, d (d - 1) / 2) indicators from features (b, d)."""
        values = np.asarray(texts)
        i, j = np.triu_indices(values.shape[1], 1)
        return (values[:, i] == values[:, j]).astype(np.float64)
