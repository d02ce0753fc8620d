"""Linear SVM, logistic regression and a multilayer perceptron on encoded texts or on a table's features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from xal.core._typing import Field
from xal.errors import XalError
from xal.models.sklearn.linear import LinearModel


@dataclass(frozen=True, kw_only=True)
class LinearSvm(LinearModel, name="linear_svm"):
    """Linear support vector machine, one class against the rest."""

    penalty: Literal["l1", "l2"] = "l2"
    loss: Literal["squared_hinge", "hinge"] = "squared_hinge"
    """The hinge itself goes with the L2 penalty alone."""
    max_iter: Annotated[int, Field(ge=1)] = 2000

    def __post_init__(self) -> None:
        if self.penalty == "l1" and self.loss == "hinge":
            raise XalError("loss: an L1 penalty goes with squared_hinge alone")

    def head(self, hyperparameter: float, seed: int) -> Any:
        """liblinear's primal or dual, whichever is smaller."""
        from sklearn.svm import LinearSVC

        return LinearSVC(
            C=hyperparameter, penalty=self.penalty, loss=self.loss, random_state=seed, max_iter=self.max_iter
        )
