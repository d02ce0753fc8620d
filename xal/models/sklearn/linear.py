"""Base of the scikit-learn models with one weight vector per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from xal.core._typing import Field
from xal.encoders.encoder import State
from xal.models.sklearn.base import SklearnModel
from xal.types import Matrix, Outputs

Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, kw_only=True)
class LinearModel(SklearnModel):
    """Base of the linear models: a weight vector and an intercept for each class."""

    C: tuple[Positive, ...] = (0.01, 0.1, 1.0, 10.0, 100.0)
    """Inverse strengths of the penalty, from which cross-validation chooses."""

    @property
    def provides(self) -> frozenset[str]:
        """`linear`, if the margins are linear in features or words; `linear_head`, if in the encoder's vectors.

        Both are `contrastive`. `gradients` through head and encoder, if the encoder has them.
        """
        if self.encoder is None or self.encoder.bag:
            return super().provides | {"linear", "contrastive"}
        return super().provides | {"linear_head", "contrastive"} | (self.encoder.provides & {"gradients"})

    @property
    def grid(self) -> Sequence[float]:
        """The values of `C`."""
        return self.C

    def learned(self, head: Any) -> State:
        """(c, d) weights w and (c,) intercepts b; of two classes as (-w, w) and (-b, b)."""
        w, b = np.asarray(head.coef_, np.float64), np.asarray(head.intercept_, np.float64)
        return {"w": np.concatenate([-w, w]), "b": np.concatenate([-b, b])} if len(w) == 1 else {"w": w, "b": b}

    def outputs(self, vectors: Matrix, state: State) -> Outputs:
        """(b, c) margins w x + b, multiplied in the precision of the vectors."""
        w = state["w"].astype(np.float32) if vectors.dtype == np.float32 else state["w"]
        return np.asarray(vectors @ w.T + state["b"])

    def linear(self, state: State) -> tuple[Outputs, Outputs]:
        """((c, d) weights, (c,) intercepts) of the margins."""
        return state["w"], state["b"]
