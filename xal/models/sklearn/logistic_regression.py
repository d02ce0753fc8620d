"""Logistic regression on encoded texts or on the features of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xal.models.sklearn.linear import LinearModel


@dataclass(frozen=True, kw_only=True)
class LogisticRegression(LinearModel, name="logistic_regression"):
    """Multinomial logistic regression."""

    def head(self, hyperparameter: float, seed: int) -> Any:
        """A LogisticRegression, fitted by L-BFGS."""
        from sklearn import linear_model

        return linear_model.LogisticRegression(C=hyperparameter, max_iter=1000)
