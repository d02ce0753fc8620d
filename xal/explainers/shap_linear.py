"""Exact SHAP values of linear models (shap's LinearExplainer): phi_j = w_cj (x_j - mean_j) of the margin of class c.

The baseline of a text is the empty text, so that phi_j is the weight times the word's TF-IDF or count; the scaling of
TF-IDF rows to length 1 is treated as constant. The baseline of a table row is the mean of labelled items.
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
    """Tables: number of labelled items whose mean is the baseline."""

    @property
    def n_baselines(self) -> int:
        """The setting `background`."""
        return self.background

    def explain(
        self,
        classifier: Any,
        inputs: Inputs,
        target: Integer[Tensor, " b"] | None = None,
        baselines: Tensor | None = None,
    ) -> Explanations:
        """Attribute each item's margin to its words or columns. Raises XalError for models that are not linear."""
        linear = getattr(classifier, "linear", None)
        model = linear() if linear is not None else None
        if model is None:
            raise XalError("shap_linear explains linear_svm and logistic_regression; use shap_partition for this model")
        weights, intercepts, encoding = model
        probabilities = torch.as_tensor(classifier.probabilities(inputs))
        explained = explained_classes(probabilities, target).cpu().numpy()
        w, b = weights[explained], intercepts[explained]
        if isinstance(inputs, Tensor):
            centre = encoding.vectors(needed_baselines(baselines, self.background).cpu().numpy()).mean(axis=0)
            attributions = w * (encoding.vectors(inputs.cpu().numpy()) - centre)
            base = b + w @ centre
            interpretable_input = self.to_interpretable(inputs)
        else:
            if not encoding.bag:
                raise XalError(
                    "shap_linear explains bags of words (tfidf, hashing, presence); use shap_partition for this encoder"
                )
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
    """Return attributions and presence of words; words that share a column share its attribution evenly."""
    vectors = sparse.csr_array(encoding.vectors(texts.raw))
    rows = np.repeat(np.arange(len(texts)), np.diff(texts.starts))
    columns = encoding.columns(texts)
    shape = (len(texts), encoding.width)
    in_vocabulary = columns >= 0
    cells = rows[in_vocabulary], columns[in_vocabulary]
    counts = sparse.csr_array((np.ones(len(cells[0])), cells), shape=shape)
    weighted = sparse.csr_array(vectors.multiply(w))  # (b, d); the sum over d is the margin minus the intercept
    occurrences = np.zeros(len(rows))
    occurrences[in_vocabulary] = np.asarray(weighted[cells]).ravel() / np.asarray(counts[cells]).ravel()
    return hashed_words.by_word(occurrences, texts.columns, texts.starts)
