"""Exact SHAP values of linear models (shap's LinearExplainer): phi_j = w_cj (x_j - mean_j) of the margin of class c.

Texts are explained against the empty text, in the weights of the words they have (TF-IDF after its row scaling is taken
as given); tables against the mean of labelled items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from xal.core import hashed_words
from xal.core._typing import Field, Integer
from xal.encoders import Texts
from xal.encoders.bag_of_words import Bag
from xal.errors import XalError
from xal.explainers.explainer import COMPLETE, Explainer, Inputs, explained_classes, needed_baselines
from xal.types import Explanations


@dataclass(frozen=True, kw_only=True)
class ShapLinear(Explainer, name="shap_linear"):
    """Exact SHAP of a linear model's margin. Invariant: base + attributions = output."""

    kinds: ClassVar[frozenset[str]] = frozenset({"text", "features"})
    requires: ClassVar[frozenset[str]] = frozenset({"linear"})
    tolerance: ClassVar[float | None] = COMPLETE

    background: Annotated[int, Field(ge=1)] = 100
    """Tables: labelled items whose mean is the baseline."""

    @property
    def n_baselines(self) -> int:
        """`background`."""
        return self.background

    def explain(
        self,
        classifier: Any,
        inputs: Inputs,
        target: Integer[Tensor, " b"] | None = None,
        baselines: Tensor | None = None,
    ) -> Explanations:
        """Of each item's words or columns."""
        linear = getattr(classifier, "linear", None)
        found = linear() if linear is not None else None
        if found is None:
            raise XalError("shap_linear explains linear_svm and logistic_regression; use shap_partition for this model")
        weights, intercepts, encoding = found
        probabilities = torch.as_tensor(classifier.probabilities(inputs))
        explained = explained_classes(probabilities, target).cpu().numpy()
        w, b = weights[explained], intercepts[explained]
        if isinstance(inputs, Tensor):
            centre = encoding.encode(needed_baselines(baselines, self.background).cpu().numpy()).mean(axis=0)
            attributions = w * (encoding.encode(inputs.cpu().numpy()) - centre)
            base = b + w @ centre
            interpretable_input = self.to_interpretable(inputs)
        else:
            if not isinstance(encoding, Bag):
                raise XalError("shap_linear explains bags of words (tfidf, hashing, presence); use shap_partition here")
            attributions, interpretable_input = _by_word(encoding, Texts(list(inputs)), w)
            base = b
        return Explanations(
            feature_kind="columns" if isinstance(inputs, Tensor) else "words",
            attributions=attributions,
            interpretable_input=interpretable_input,
            explained_class=explained,
            probability=probabilities.numpy()[np.arange(len(explained)), explained].astype(np.float64),
            base=base,
            output=classifier.outputs(inputs, "margin")[np.arange(len(explained)), explained],
        )


def _by_word(encoding: Bag, texts: Texts, w: np.ndarray) -> tuple[Any, Any]:
    """(attributions, presence) in the space of words: a column's share goes evenly to the words that it stands for."""
    vectors = sparse.csr_array(encoding.encode(texts.raw))
    rows = np.repeat(np.arange(len(texts)), np.diff(texts.starts))
    columns = encoding.columns(texts)
    shape = (len(texts), encoding.width)
    known = columns >= 0
    counts = sparse.csr_array((np.ones(int(known.sum())), (rows[known], columns[known])), shape=shape)
    weighted = sparse.csr_array(vectors.multiply(w))  # (b, d), summed over d is the margin but for the intercept
    each = np.zeros(len(rows))
    share = (
        np.asarray(weighted[rows[known], columns[known]]).ravel()
        / np.asarray(counts[rows[known], columns[known]]).ravel()
    )
    each[known] = share
    return hashed_words.by_word(each, texts.columns, texts.starts)
