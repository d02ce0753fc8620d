"""m(x) of EBAnO-Uncertainty (thesis 3.3.2): how far an influential feature is from being precise.

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
    """Query the items of largest m(x), of EBAnO's explanations."""

    needs: ClassVar[frozenset[str]] = frozenset({"explanations"})
    spaces: ClassVar[frozenset[str]] = frozenset({"ebano"})

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        """(b,) m(x)."""
        explanations = evidence.explanations
        if explanations is None:
            raise XalError(f"'{self.name}' needs explanations; give the recipe an explainer")
        each = np.arange(len(explanations))
        fmax = explanations.top_feature
        return np.asarray(explanations.npir[each, fmax] - explanations.npirp[each, fmax], np.float64)
