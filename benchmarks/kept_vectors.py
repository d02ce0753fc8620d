"""An encoder whose vectors are made up and kept, for benchmarks; workers import it."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xal.encoders.encoder import Encoder, Encoding, State

WIDTH = 384


@dataclass(frozen=True, kw_only=True)
class Made(Encoder):
    """Stands for an encoder of texts; its vectors of the pool are made up and kept."""

    kept: ClassVar[bool] = True

    def load(self, state: State) -> Encoding:
        """Vectors of zeros, to tell the width."""
        return Zeros()


class Zeros(Encoding):
    """Vectors of zeros."""

    def encode(self, texts: Any) -> Any:
        """(b, 384) zeros."""
        return np.zeros((len(texts), WIDTH), np.float32)
