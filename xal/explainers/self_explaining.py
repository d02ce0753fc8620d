"""The explanation that a self-explaining network (SENN, CALI) computes itself: the weights w(x) of its concepts.

margin of class c = w_c(x)' phi(x) + b_c        (for two classes: sigma^-1(p_c) = w_c(x)' phi(x) + b_c)

It is exact and needs only one forward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from xal.core._typing import Integer
from xal.errors import NumericalError
from xal.explainers.explainer import Explainer, Inputs, check_provided, explained_classes
from xal.types import Explanations, FeatureKind, dense


@dataclass(frozen=True, kw_only=True)
class SelfExplaining(Explainer, name="self_explaining"):
    """The weights of a `senn`. Invariant: base + sum of attributions * interpretable_input = output, the margin."""

    kinds: ClassVar[frozenset[str]] = frozenset({"image", "features"})
    requires: ClassVar[frozenset[str]] = frozenset({"self_explaining"})

    def explain(
        self,
        classifier: Any,
        inputs: Inputs,
        target: Integer[Tensor, " b"] | None = None,
        baselines: Tensor | None = None,
    ) -> Explanations:
        """Return the weights w of the explained class; the interpretable input is phi(x)."""
        check_provided(self.name, classifier, "self_explaining")
        with torch.no_grad():
            outputs = classifier.self_explanation(inputs)
            probabilities = torch.softmax(outputs.logits, dim=1)
            explained = explained_classes(probabilities, target)
        rows = torch.arange(len(explained), device=explained.device)
        kind: FeatureKind = "concepts" if "concepts" in classifier.provides else "columns"
        segments = None
        if kind != "concepts" and inputs.ndim == 4:
            h, w = inputs.shape[2:]
            kind, segments = "pixels", np.arange(h * w, dtype=np.int32).reshape(1, h, w).repeat(len(explained), axis=0)
        return Explanations(
            feature_kind=kind,
            attributions=outputs.weights[rows, explained].double().cpu().numpy(),
            interpretable_input=outputs.concepts.double().cpu().numpy(),
            explained_class=explained.cpu().numpy(),
            probability=probabilities[rows, explained].double().cpu().numpy(),
            base=outputs.bias.detach().double()[explained].cpu().numpy(),
            output=outputs.margins.double()[rows, explained].cpu().numpy(),
            segments=segments,
        )

    def check(self, explanations: Explanations) -> None:
        """Raise NumericalError unless base + sum of attributions * interpretable_input equals the output."""
        if explanations.base is None or explanations.output is None:
            raise NumericalError(
                "expected explanations with base and output, got none; this explainer's cannot be checked"
            )
        products = dense(explanations.attributions) * dense(explanations.interpretable_input)
        error = np.abs(products.sum(axis=1) + explanations.base - explanations.output)
        wrong = ~(error <= 1e-4 * max(1.0, float(np.abs(explanations.output).max(initial=0))))
        if wrong.any():
            raise NumericalError(
                f"{int(wrong.sum())} of {len(explanations)} explanations differ from the output by up to "
                f"{error.max():.3g}; check that the model's weights are finite"
            )
