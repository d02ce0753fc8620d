"""m(x) of EBAnO-Uncertainty (thesis 3.3.2): how much the influence of the top feature exceeds its precision.

m(x) = nPIR_fmax(x) - nPIRP_fmax(x),   fmax = argmax_f nPIR_f of the best explanation, m in [-2, 2]
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xal.core.rng import HashRng
from xal.errors import XalError
from xal.strategies.strategy import Scores, Strategy
from xal.types import Evidence


@dataclass(frozen=True, kw_only=True)
class NpirGap(Strategy, name="npir_gap"):
    """Query the items with the largest m(x), by EBAnO's explanations."""

    motive: ClassVar[str] = "its most influential feature is imprecise"

    needs: ClassVar[frozenset[str]] = frozenset({"explanations"})
    spaces: ClassVar[frozenset[str]] = frozenset({"ebano"})

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        """(b,) m(x) in [-2, 2]."""
        explanations = evidence.explanations
        if explanations is None:
            raise XalError(f"'{self.name}' needs explanations; give the recipe an explainer")
        rows = np.arange(len(explanations))
        fmax = explanations.top_feature
        return np.asarray(explanations.npir[rows, fmax] - explanations.npirp[rows, fmax], np.float64)
