"""Right for the right reasons: compare a round's predictions with its labels and corrections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Predicted(Protocol):
    """A queried item with the prediction that the annotator was shown."""

    @property
    def id(self) -> str:
        """The item's id in the pool."""
        ...

    @property
    def prediction(self) -> str | None:
        """The predicted class; None: there was no model."""
        ...


def trust(items: Sequence[Predicted], labels: Mapping[str, str], corrections: Mapping[str, Any]) -> dict[str, int]:
    """Counts of predictions: right for the right reasons (not corrected), right for the wrong ones, and wrong.

    Also counts corrections and corrected components. Items without a prediction are not counted.
    """
    predicted = [item for item in items if item.prediction is not None]
    right = [item for item in predicted if item.prediction == labels.get(item.id)]
    right_for_wrong = sum(item.id in corrections for item in right)
    return {
        "right_for_right": len(right) - right_for_wrong,
        "right_for_wrong": right_for_wrong,
        "wrong": len(predicted) - len(right),
        "corrections": len(corrections),
        "corrected_components": sum(len(correction.components) for correction in corrections.values()),
    }
