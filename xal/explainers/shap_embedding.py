"""Exact SHAP of a linear head in the space of an encoder's vectors: phi_j = w_cj (x_j - mean_j) of class c's margin.

mean: of the labelled items' vectors. It reads kept vectors, so it can explain every item of a pool in one cheap pass
(as the contrastive explanations of methods that compare items by them). The components are the encoder's concepts: no
part of an item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from xal.core._typing import Integer
from xal.errors import XalError
from xal.explainers.explainer import COMPLETE, Explainer, Inputs, explained_classes
from xal.types import Explanations


@dataclass(frozen=True, kw_only=True)
class ShapEmbedding(Explainer, name="shap_embedding"):
    """Exact SHAP values of the components of the encoder's vectors. Invariant: base + attributions = margin."""

    kinds: ClassVar[frozenset[str]] = frozenset({"image", "text"})
    requires: ClassVar[frozenset[str]] = frozenset({"linear_head"})
    tolerance: ClassVar[float | None] = COMPLETE
    of_embeddings: ClassVar[bool] = True

    def explain(
        self,
        classifier: Any,
        inputs: Inputs,
        target: Integer[Tensor, " b"] | None = None,
        baselines: Tensor | None = None,
    ) -> Explanations:
        """Attribute each item's margin to the components of its vector. Raises XalError for heads that are not linear.

        inputs: vectors (b, d) with a classifier of vectors (`Classifier.head`), otherwise items.
        """
        linear = getattr(classifier, "linear", None)
        model = linear() if linear is not None else None
        if model is None or model[2].bag:
            raise XalError(
                "shap_embedding explains a linear_svm or logistic_regression on an encoder's vectors; use shap_linear "
                "for bags of words, shap_partition for other models"
            )
        weights, intercepts, encoding = model
        probabilities = torch.as_tensor(classifier.probabilities(inputs))
        explained = explained_classes(probabilities, target).cpu().numpy()
        vectors = np.asarray(encoding.vectors(np.asarray(inputs)), np.float64)
        w, b, centre = weights[explained], intercepts[explained], classifier.centre
        return Explanations(
            feature_kind="concepts",
            attributions=w * (vectors - centre),
            interpretable_input=vectors,
            explained_class=explained,
            probability=probabilities.numpy()[np.arange(len(explained)), explained].astype(np.float64),
            base=b + w @ centre,
            output=(w * vectors).sum(axis=1) + b,
        )
