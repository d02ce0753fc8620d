"""Right for the right reasons: penalise the attributions of components that corrections mark wrong.

    rrr           cross-entropy + weight * mean over items of sum (A * d/dx sum_k log p_k)^2
    rrr_gradcam   the same with the Grad-CAM map of the label in place of the input gradients

A is 1 on the components marked wrong, else 0. x is the preprocessed input, so the weight depends on its scale: 1000
for inputs in 0-255 is 1000 / 255^2 for inputs in 0-1. RRR is by Ross, Hughes, Doshi-Velez 2017, its Grad-CAM variant by
Schramowski et al. 2020. The authors sum both terms over the batch; under Adam this is equivalent to the means here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from xal.core._typing import Field
from xal.feedback.feedback import Feedback, Kinds


@dataclass(frozen=True, kw_only=True)
class Rrr(Feedback, name="rrr"):
    """Penalise input gradients on the components marked wrong."""

    kinds: ClassVar[Kinds] = frozenset({"image", "features"})
    requires: ClassVar[frozenset[str]] = frozenset({"gradient_descent"})
    has_loss: ClassVar[bool] = True

    weight: Annotated[float, Field(gt=0)] = 10.0
    """lambda, the weight of the penalty; use smaller values for noisy corrections."""

    def forward(self, module: Any, inputs: Tensor, correction_targets: Any) -> tuple[Tensor, Tensor]:
        """(logits (b, c), weighted penalty)."""
        inputs = inputs.detach().requires_grad_()
        logits: Tensor = module(inputs)
        corrected = correction_targets.corrected  # (b,) bool
        if not corrected.any():
            return logits, logits.new_zeros(())
        log_probabilities = log_softmax(logits, dim=1)[corrected].sum()
        gradients = torch.autograd.grad(log_probabilities, inputs, create_graph=True)[0][corrected]
        wrong = correction_targets.wrong[corrected]
        wrong = wrong[:, None] if gradients.ndim == 4 else wrong
        return logits, self.weight * (gradients * wrong).square().sum() / len(inputs)
