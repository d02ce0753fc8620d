"""Right for the right reasons: what corrections say of the predictions of a round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Predicted(Protocol):
    """A queried item with the prediction that was shown."""

    @property
    def id(self) -> str:
        """Of the item."""
        ...

    @property
    def prediction(self) -> str | None:
        """The predicted class; None: there was no model."""
        ...


def trust(items: Sequence[Predicted], labels: Mapping[str, str], corrections: Mapping[str, Any]) -> dict[str, int]:
    """Right for the right reasons, right for the wrong ones, wrong: the predictions of a round that were shown."""
    predicted = [item for item in items if item.prediction is not None]
    right = [item for item in predicted if item.prediction == labels.get(item.id)]
    for_wrong = sum(item.id in corrections for item in right)
    return {
        "right_for_right": len(right) - for_wrong,
        "right_for_wrong": for_wrong,
        "wrong": len(predicted) - len(right),
        "corrections": len(corrections),
        "corrected_components": sum(len(each.components) for each in corrections.values()),
    }
