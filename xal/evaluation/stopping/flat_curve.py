"""Stop when accuracy no longer grows (the gradient rule of F. Laws, H. Schuetze, "Stopping criteria for active learning
of named entity recognition", COLING 2008). Needs held-out labels; with few of them, noise hides growth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from xal.evaluation.stopping.rule import Observed, StoppingRule


@dataclass(frozen=True, kw_only=True)
class FlatCurve(StoppingRule, name="flat_curve"):
    """Stop when the best accuracy of the last rounds is hardly above that of the rounds before."""

    gain: Annotated[float, Field(ge=0, lt=1)] = 0.005
    """Growth of the best accuracy below which a curve is flat."""
    rounds: Annotated[int, Field(ge=1)] = 5
    """The last rounds."""

    def met(self, history: Sequence[Observed]) -> bool:
        """Whether the last `rounds` rounds gained less than `gain`."""
        values = [seen.accuracy for seen in history if seen.accuracy is not None]
        before, last = values[: -self.rounds], values[-self.rounds :]
        return bool(before) and max(last) - max(before) < self.gain
