"""A query strategy: label the items for whose prediction no single feature speaks strongly.

    score(x) = -max_j |phi_j(x)|

In a recipe:   strategy: {name: candidates, n: 500, strategy: {name: "weak_reasons:WeakReasons"}}
From Python:   xal.Learner(texts, strategy=WeakReasons(), explainer="shap_linear")
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

import xal


@dataclass(frozen=True, kw_only=True)
class WeakReasons(xal.Strategy):
    """Query the items whose largest attribution is smallest."""

    needs: ClassVar[frozenset[str]] = frozenset({"explanations"})
    spaces: ClassVar[frozenset[str]] = frozenset({"shared"})

    relative: bool = False
    """Divide by the sum of an item's attributions, so that items of few features do not count as certain."""

    def score(self, evidence: xal.Evidence, state: Any, rng: xal.HashRng) -> np.ndarray:
        """(b,) scores; the largest is queried first."""
        if evidence.explanations is None:
            raise xal.XalError("weak_reasons reads explanations; name an explainer")
        sizes = abs(evidence.explanations.attributions)  # (b, f), sparse for texts
        largest = sizes.max(axis=1)
        largest = largest.toarray().ravel() if sparse.issparse(largest) else largest
        if self.relative:
            largest = largest / np.maximum(np.asarray(sizes.sum(axis=1)).ravel(), 1e-12)
        return -np.asarray(largest, np.float64)
