"""Multilayer perceptron on encoded texts or on the features of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from xal.core._typing import Field
from xal.encoders.encoder import State
from xal.models.sklearn.base import SklearnModel
from xal.models.sklearn.linear import Positive
from xal.types import Matrix, Outputs


@dataclass(frozen=True, kw_only=True)
class Mlp(SklearnModel, name="mlp"):
    """Multilayer perceptron with ReLU, trained by Adam."""

    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (100,)
    """Units of each hidden layer."""
    alpha: tuple[Positive, ...] = (1e-4, 1e-2, 1.0)
    """Strengths of the L2 penalty, from which cross-validation chooses."""
    epochs: Annotated[int, Field(ge=1)] = 200
    """Maximum number of epochs."""

    @property
    def grid(self) -> Sequence[float]:
        """The values of `alpha`."""
        return self.alpha

    def head(self, hyperparameter: float, seed: int) -> Any:
        """An MLPClassifier, trained by Adam."""
        from sklearn.neural_network import MLPClassifier

        return MLPClassifier(self.hidden, alpha=hyperparameter, random_state=seed, max_iter=self.epochs)

    def learned(self, head: Any) -> State:
        """Weights and intercepts of each layer."""
        pairs = enumerate(zip(head.coefs_, head.intercepts_, strict=True))
        return {name: values for i, (w, b) in pairs for name, values in ((f"w{i}", w), (f"b{i}", b))}

    def outputs(self, vectors: Matrix, state: State) -> Outputs:
        """(b, c) logits; (-z, z) for two classes."""
        layers = len(self.hidden) + 1
        for i in range(layers):
            vectors = np.asarray(vectors @ state[f"w{i}"] + state[f"b{i}"])
            if i < layers - 1:
                vectors = np.maximum(vectors, 0)
        return np.concatenate([-vectors, vectors], axis=1) if vectors.shape[1] == 1 else vectors
