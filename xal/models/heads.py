"""Linear SVM, logistic regression and a multilayer perceptron on encoded texts or on a table's features."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from xal.encoders.encoder import State
from xal.errors import XalError
from xal.hints import Field
from xal.models.shallow import Outputs, Shallow
from xal.types import Matrix

Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, kw_only=True)
class _Linear(Shallow):
    """Weights and an intercept for each class."""

    C: tuple[Positive, ...] = (0.01, 0.1, 1.0, 10.0)
    """Psi: inverse strengths of the L2 penalty to choose from."""

    @property
    def offers(self) -> frozenset[str]:
        """Margins that are linear in features, or in words."""
        return frozenset({"linear"} if self.encoder is None or self.encoder.bag else ())

    @property
    def grid(self) -> Sequence[float]:
        """C."""
        return self.C

    @abstractmethod
    def head(self, psi: Any, seed: int) -> Any:
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


@dataclass(frozen=True, kw_only=True)
class LinearSvm(_Linear, name="linear_svm"):
    """Linear support vector machine, one class against the rest."""

    penalty: Literal["l1", "l2"] = "l2"
    loss: Literal["squared_hinge", "hinge"] = "squared_hinge"
    """The hinge itself goes with the L2 penalty alone."""
    max_iter: Annotated[int, Field(ge=1)] = 2000

    def __post_init__(self) -> None:
        if self.penalty == "l1" and self.loss == "hinge":
            raise XalError("loss: an L1 penalty goes with squared_hinge alone")

    def head(self, psi: float, seed: int) -> Any:
        """liblinear's primal or dual, whichever is smaller."""
        from sklearn.svm import LinearSVC

        return LinearSVC(C=psi, penalty=self.penalty, loss=self.loss, random_state=seed, max_iter=self.max_iter)


@dataclass(frozen=True, kw_only=True)
class LogisticRegression(_Linear, name="logistic_regression"):
    """Multinomial logistic regression."""

    def head(self, psi: float, seed: int) -> Any:
        """By L-BFGS."""
        from sklearn import linear_model

        return linear_model.LogisticRegression(C=psi, max_iter=1000)


@dataclass(frozen=True, kw_only=True)
class Mlp(Shallow, name="mlp"):
    """Multilayer perceptron with ReLU, trained by Adam."""

    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (100,)
    """Units of each hidden layer."""
    alpha: tuple[Positive, ...] = (1e-4, 1e-2, 1.0)
    """Psi: strengths of the L2 penalty to choose from."""
    epochs: Annotated[int, Field(ge=1)] = 200
    """At most."""

    @property
    def grid(self) -> Sequence[float]:
        """alpha."""
        return self.alpha

    def head(self, psi: float, seed: int) -> Any:
        """scikit-learn's."""
        from sklearn.neural_network import MLPClassifier

        return MLPClassifier(self.hidden, alpha=psi, random_state=seed, max_iter=self.epochs)

    def learned(self, head: Any) -> State:
        """Weights and intercepts of each layer."""
        pairs = enumerate(zip(head.coefs_, head.intercepts_, strict=True))
        return {name: values for i, (w, b) in pairs for name, values in ((f"w{i}", w), (f"b{i}", b))}

    def outputs(self, vectors: Matrix, state: State) -> Outputs:
        """Logits."""
        layers = len(self.hidden) + 1
        for i in range(layers):
            vectors = np.asarray(vectors @ state[f"w{i}"] + state[f"b{i}"])
            if i < layers - 1:
                vectors = np.maximum(vectors, 0)
        return np.concatenate([-vectors, vectors], axis=1) if vectors.shape[1] == 1 else vectors
