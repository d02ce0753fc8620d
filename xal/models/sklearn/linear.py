"""Base of the scikit-learn models with one weight vector a class."""

from __future__ import annotations

from abc import abstractmethod
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
    """Weights and an intercept for each class."""

    C: tuple[Positive, ...] = (0.01, 0.1, 1.0, 10.0)
    """Psi: inverse strengths of the L2 penalty to choose from."""

    @property
    def provides(self) -> frozenset[str]:
        """Margins that are linear in features, or in words."""
        return frozenset({"linear"} if self.encoder is None or self.encoder.bag else ())

    @property
    def grid(self) -> Sequence[float]:
        """C."""
        return self.C

    @abstractmethod
    def head(self, hyperparameter: Any, seed: int) -> Any:
        """A scikit-learn classifier."""

    def learned(self, head: Any) -> State:
        """Its coefficients, of two classes as (-w, w)."""
        w, b = np.asarray(head.coef_, np.float64), np.asarray(head.intercept_, np.float64)
        return {"w": np.concatenate([-w, w]), "b": np.concatenate([-b, b])} if len(w) == 1 else {"w": w, "b": b}

    def outputs(self, vectors: Matrix, state: State) -> Outputs:
        """w x + b."""
        return np.asarray(vectors @ state["w"].T + state["b"])

    def linear(self, state: State) -> tuple[Outputs, Outputs]:
        """As they are."""
        return state["w"], state["b"]
