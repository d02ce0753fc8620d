"""What a self-explaining network says of itself (SENN, CALI): the weights w(x) of its concepts, exact and free.

margin of class c = w_c(x)' phi(x) + b_c        (of two classes: sigma^-1(p_c) = w_c(x)' phi(x) + b_c)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from xal.errors import NumericalError, XalError
from xal.explainers.explainer import Explainer, Payload, explained_classes
from xal.hints import Integer
from xal.types import Explanations, dense


@dataclass(frozen=True, kw_only=True)
class SelfExplaining(Explainer, name="self_explaining"):
    """The weights of a `senn`. Invariant: base + sum of attributions * represented = output, the margin."""

    kinds: ClassVar[frozenset[str]] = frozenset({"image", "features"})
    wants: ClassVar[frozenset[str]] = frozenset({"self_explaining"})

    def explain(self, network: Any, payload: Payload, classes: Integer[Tensor, " b"] | None = None) -> Explanations:
        """w of the class of interest; represented by phi(x)."""
        module = getattr(network, "module", None)
        if module is None or not hasattr(module, "weights"):
            raise XalError("self_explaining explains the model senn; choose another explainer for this one")
        with torch.no_grad():
            inputs = network.model.preprocess(payload)
            logits, weights = module(inputs, explained=True)
            represented = module.phi(inputs.flatten(1)).double()
            probabilities = torch.softmax(logits, dim=1)
            explained = explained_classes(probabilities, classes)
            each = torch.arange(len(explained), device=explained.device)
            w = weights[each, explained].double()
            bias = module.bias.double()
            base = torch.stack([-bias[0], bias[0]])[explained] if module.classes == 2 else bias[explained]
            output = logits.double()[each, explained] * (2 if module.classes == 2 else 1)
        segments = concepts = None
        if "concepts" in network.model.offers:
            concepts = np.ones(len(w), bool)
        elif payload.ndim == 4:
            h, wide = payload.shape[2:]
            segments = np.arange(h * wide, dtype=np.int32).reshape(1, h, wide).repeat(len(w), axis=0)
        return Explanations(
            attributions=w.cpu().numpy(),
            represented=represented.cpu().numpy(),
            explained_class=explained.cpu().numpy(),
            probability=probabilities[each, explained].double().cpu().numpy(),
            base=base.cpu().numpy(),
            output=output.cpu().numpy(),
            segments=segments,
            concepts=concepts,
        )

    def check(self, explanations: Explanations) -> None:
        """Raise NumericalError unless the weights make the output."""
        if explanations.base is None or explanations.output is None:
            raise NumericalError("these explanations hold no base and output")
        made = (dense(explanations.attributions) * dense(explanations.represented)).sum(axis=1) + explanations.base
        missed = np.abs(made - explanations.output)
        wrong = ~(missed <= 1e-4 * max(1.0, float(np.abs(explanations.output).max(initial=0))))
        if wrong.any():
            raise NumericalError(
                f"of {len(explanations)} explanations {int(wrong.sum())} miss the output by up to {missed.max():.3g}; "
                "are the weights finite?"
            )
