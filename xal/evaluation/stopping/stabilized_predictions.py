"""Stop when predictions no longer change (M. Bloodgood, K. Vijay-Shanker, "A method for stopping active learning based
on stabilizing predictions and the need for user-adjustable stopping", CoNLL 2009)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from xal.evaluation.stopping.rule import Observed, StoppingRule


@dataclass(frozen=True, kw_only=True)
class StabilizedPredictions(StoppingRule, name="stabilized_predictions"):
    """Stop when successive models agree on the stop set."""

    agreement: Annotated[float, Field(gt=0, le=1)] = 0.99
    """Cohen's kappa of the predictions of successive models."""
    rounds: Annotated[int, Field(ge=1)] = 3
    """Rounds in a row that must reach it."""

    def met(self, history: Sequence[Observed]) -> bool:
        """Whether the last `rounds` rounds reach the agreement."""
        last = [seen.agreement for seen in history[-self.rounds :]]
        return len(last) == self.rounds and all(each is not None and each >= self.agreement for each in last)
