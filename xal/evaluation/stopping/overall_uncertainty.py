"""Stop when the model is sure of the pool (J. Zhu, H. Wang, E. Hovy, "Learning a stopping criterion for active learning
for word sense disambiguation and text classification", IJCNLP 2008)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from xal.evaluation.stopping.rule import Observed, StoppingRule


@dataclass(frozen=True, kw_only=True)
class OverallUncertainty(StoppingRule, name="overall_uncertainty"):
    """Stop when the mean entropy on the stop set is small."""

    below: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Mean entropy, as a share of the largest possible."""

    def met(self, history: Sequence[Observed]) -> bool:
        """Whether the last round lies below."""
        last = history[-1].uncertainty if history else None
        return last is not None and last < self.below
