"""Logistic regression on encoded texts or on the features of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xal.models.sklearn.linear import LinearModel, Positive


@dataclass(frozen=True, kw_only=True)
class LogisticRegression(LinearModel, name="logistic_regression"):
    """Multinomial logistic regression."""

    C: tuple[Positive, ...] = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
    """Inverse strengths of the penalty, from which cross-validation chooses; large ones win on unit-norm embeddings."""

    def head(self, hyperparameter: float, seed: int) -> Any:
        """A LogisticRegression, fitted by L-BFGS."""
        from sklearn import linear_model

        return linear_model.LogisticRegression(C=hyperparameter, max_iter=1000)
