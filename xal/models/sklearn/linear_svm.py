"""Linear SVM on encoded texts or on the features of a table."""

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
    """Norm of the weights."""
    loss: Literal["squared_hinge", "hinge"] = "squared_hinge"
    """hinge requires the L2 penalty."""
    max_iter: Annotated[int, Field(ge=1)] = 2000
    """Iterations of liblinear, at most."""

    def __post_init__(self) -> None:
        if self.penalty == "l1" and self.loss == "hinge":
            raise XalError("loss: penalty l1 requires squared_hinge, got hinge; set loss: squared_hinge or penalty: l2")

    def head(self, hyperparameter: float, seed: int) -> Any:
        """A LinearSVC; liblinear solves the primal or the dual problem, whichever is smaller."""
        from sklearn.svm import LinearSVC

        return LinearSVC(
            C=hyperparameter, penalty=self.penalty, loss=self.loss, random_state=seed, max_iter=self.max_iter
        )
