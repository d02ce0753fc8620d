"""What a self-explaining network says of itself (SENN, CALI): the weights w(x) of its concepts, exact and free.

margin of class c = w_c(x)' phi(x) + b_c        (of two classes: sigma^-1(p_c) = w_c(x)' phi(x) + b_c)
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
        """w of the class of interest; the interpretable input is phi(x)."""
        check_provided(self.name, classifier, "self_explaining")
        with torch.no_grad():
            found = classifier.self_explanation(inputs)
            probabilities = torch.softmax(found.logits, dim=1)
            explained = explained_classes(probabilities, target)
        each = torch.arange(len(explained), device=explained.device)
        kind: FeatureKind = "concepts" if "concepts" in classifier.provides else "columns"
        segments = None
        if kind != "concepts" and inputs.ndim == 4:
            h, w = inputs.shape[2:]
            kind, segments = "pixels", np.arange(h * w, dtype=np.int32).reshape(1, h, w).repeat(len(explained), axis=0)
        return Explanations(
            feature_kind=kind,
            attributions=found.weights[each, explained].double().cpu().numpy(),
            interpretable_input=found.concepts.double().cpu().numpy(),
            explained_class=explained.cpu().numpy(),
            probability=probabilities[each, explained].double().cpu().numpy(),
            base=found.bias.detach().double()[explained].cpu().numpy(),
            output=found.margins.double()[each, explained].cpu().numpy(),
            segments=segments,
        )

    def check(self, explanations: Explanations) -> None:
        """Raise NumericalError unless the weights make the output."""
        if explanations.base is None or explanations.output is None:
            raise NumericalError("these explanations hold no base and output")
        made = (dense(explanations.attributions) * dense(explanations.interpretable_input)).sum(
            axis=1
        ) + explanations.base
        missed = np.abs(made - explanations.output)
        wrong = ~(missed <= 1e-4 * max(1.0, float(np.abs(explanations.output).max(initial=0))))
        if wrong.any():
            raise NumericalError(
                f"of {len(explanations)} explanations {int(wrong.sum())} miss the output by up to {missed.max():.3g}; "
                "are the weights finite?"
            )
