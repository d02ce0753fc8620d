"""Base class of stopping rules: they say, after each round, whether more labels are worth their price.

A rule only advises: `xal status` and the report say since when it would have stopped. It reads what was measured on the
stop set, the same random items of the pool in every round.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import special

from xal.core.registry import Component


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What was measured after a round."""

    round: int
    accuracy: float | None
    """On test or held-out items; None: not measured."""
    agreement: float | None
    """Cohen's kappa of the predictions of this model and of the last one on the stop set; None: there was no other."""
    uncertainty: float | None
    """Mean entropy of the predictions on the stop set, as a share of the largest possible."""


@dataclass(frozen=True, kw_only=True)
class StoppingRule(Component, ABC, family="stop"):
    """Base of all stopping rules."""

    sample: Annotated[int, Field(ge=10, le=10**6)] = 2000
    """Items of the stop set, drawn at random from the pool."""

    @abstractmethod
    def met(self, history: Sequence[Observed]) -> bool:
        """Whether to stop after the last of these rounds."""

    def since(self, history: Sequence[Observed]) -> int | None:
        """The first round after which it would have stopped; None: it would go on."""
        return next((seen.round for n, seen in enumerate(history, 1) if self.met(history[:n])), None)


def kappa(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> float:
    """Cohen's kappa of two assignments (n,) of classes; 1 where both are the same."""
    from sklearn.metrics import cohen_kappa_score  # imported here because the import takes two seconds

    return 1.0 if np.array_equal(one, other) else float(cohen_kappa_score(one, other))


def uncertainty(probabilities: npt.NDArray[np.floating]) -> float:
    """Mean entropy of (n, c) probabilities divided by log c, in [0, 1]."""
    p = np.asarray(probabilities, np.float64)
    return float(special.entr(p).sum(axis=1).mean() / np.log(p.shape[1]))
