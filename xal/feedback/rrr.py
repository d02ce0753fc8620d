"""Right for the right reasons: penalties on what a network looks at and, by the corrections, should not.

    rrr           cross-entropy + weight * mean over items of sum (A * d/dx sum_k log p_k)^2
    rrr_gradcam   the same with the Grad-CAM map of the label in place of the input gradients

A is 1 on the components marked wrongly relevant. x is what the network takes, so the weight depends on its scale: 1000
on inputs 0-255 is 1000 / 255^2 on inputs 0-1. Ross, Hughes, Doshi-Velez 2017; Grad-CAM in RRR: Schramowski et al. 2020.
The authors sum both terms over the batch, which under Adam is the same as the means here.
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
    """Penalise input gradients on what was marked wrongly relevant."""

    kinds: ClassVar[Kinds] = frozenset({"image", "features"})
    requires: ClassVar[frozenset[str]] = frozenset({"gradients"})
    has_loss: ClassVar[bool] = True

    weight: Annotated[float, Field(gt=0)] = 10.0
    """lambda; smaller where corrections are noisy."""

    def forward(self, module: Any, inputs: Tensor, correction_targets: Any) -> tuple[Tensor, Tensor]:
        """Logits, and the penalty of a batch."""
        inputs = inputs.detach().requires_grad_()
        logits: Tensor = module(inputs)
        some = correction_targets.corrected
        if not some.any():
            return logits, logits.new_zeros(())
        answers = log_softmax(logits, dim=1)[some].sum()
        gradients = torch.autograd.grad(answers, inputs, create_graph=True)[0][some]
        wrong = correction_targets.wrong[some]
        wrong = wrong[:, None] if gradients.ndim == 4 else wrong
        return logits, self.weight * (gradients * wrong).square().sum() / len(inputs)
