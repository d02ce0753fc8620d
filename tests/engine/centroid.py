"""A toy strategy that uses `prepare`: far from the mean of the labelled items."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xal.core.rng import HashRng
from xal.strategies.strategy import Scores, Strategy, probabilities_of
from xal.types import Evidence, Labelled


@dataclass(frozen=True, kw_only=True)
class FarFromLabelled(Strategy):
    prepare_needs: ClassVar[frozenset[str]] = frozenset({"probabilities"})
    learns_from_labelled: ClassVar[bool] = True

    def sample_size(self, budget: int) -> int:
        return 7

    def prepare(self, labelled: Labelled | None, sample: Evidence | None) -> Any:
        if labelled is None or sample is None or len(sample) != 7 or set(sample.ids) & set(labelled.evidence.ids):
            raise AssertionError("prepare wants the labelled items and seven others")
        return probabilities_of(labelled.evidence).mean(axis=0)

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        return np.linalg.norm(probabilities_of(evidence) - state, axis=1).astype(np.float64)
