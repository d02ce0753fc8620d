"""Classification metrics from confusion counts, which shards compute and the coordinator adds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xal.types import Floats, Labels


@dataclass(frozen=True, eq=False)
class Confusion:
    """Confusion counts and summed log loss."""

    counts: npt.NDArray[np.int64]  # (c, c) [true, predicted]
    loss: float  # summed negative log likelihood in nats

    @classmethod
    def none(cls, n_classes: int) -> Confusion:
        """Zero items of `n_classes` classes."""
        return cls(np.zeros((n_classes, n_classes), np.int64), 0.0)

    @classmethod
    def of(cls, probabilities: Floats, true: Labels) -> Confusion:
        """Count items with (b, c) probabilities, whose rows sum to 1, and (b,) true class indices."""
        probabilities = np.asarray(probabilities, np.float64)
        counts = np.zeros((probabilities.shape[1],) * 2, np.int64)
        np.add.at(counts, (true, probabilities.argmax(axis=1)), 1)
        likelihood = np.maximum(probabilities[np.arange(len(true)), true], 1e-30)
        return cls(counts, -float(np.log(likelihood).sum()))

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.counts + other.counts, self.loss + other.loss)

    @property
    def n_items(self) -> int:
        """The number of items counted."""
        return int(self.counts.sum())

    def metrics(self) -> dict[str, float]:
        """accuracy, macro_f1 over the classes that occur (as in scikit-learn), log_loss in nats, and test_items.

        Also `answers_only`, the index of a class, if every answer is that class and others occur.
        """
        from sklearn.metrics import f1_score

        true, predicted = (axis.ravel() for axis in np.indices(self.counts.shape))
        present = np.flatnonzero(self.counts.sum(axis=1))
        f1 = f1_score(
            true, predicted, labels=present, average="macro", sample_weight=self.counts.ravel(), zero_division=0
        )
        answered = np.flatnonzero(self.counts.sum(axis=0))
        return {
            "accuracy": float(np.diag(self.counts).sum() / self.n_items),
            "macro_f1": float(f1),
            "log_loss": self.loss / self.n_items,
            "test_items": self.n_items,
        } | ({"answers_only": int(answered[0])} if len(answered) == 1 < len(present) else {})
