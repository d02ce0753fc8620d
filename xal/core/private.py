"""All uses of the private APIs of scikit-learn and shap.

`pyproject.toml` bounds their versions from above, and tests/core/test_private.py fails when these APIs change. Ray's
private API is in `xal.engine.ray.private`, since only that folder imports ray.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xal.core.extras import require


def platt_sigmoid(outputs: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """(a, b) of 1 / (1 + exp(a z + b)), fitted to outputs z (n,) with Platt's priors by scikit-learn."""
    from sklearn.calibration import _SigmoidCalibration

    fitted = _SigmoidCalibration().fit(outputs, positive)
    return float(fitted.a_), float(fitted.b_)


def shap_text_tree(tokens: Sequence[str]) -> npt.NDArray[np.float64]:
    """(m - 1, 4) shap's hierarchical clustering of m > 1 tokens, which keeps phrases together (a linkage matrix)."""
    tree: Any = require("shap.maskers._text", "shap", "explainer.tree: shap").partition_tree(list(tokens), [])
    return np.asarray(tree, np.float64)
