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
from torch import Tensor, nn
from torch.nn.functional import interpolate, log_softmax

from xal.errors import XalError
from xal.feedback.feedback import Feedback, Kinds
from xal.hints import Field


@dataclass(frozen=True, kw_only=True)
class Rrr(Feedback, name="rrr"):
    """Penalise input gradients on what was marked wrongly relevant."""

    kinds: ClassVar[Kinds] = frozenset({"image", "features"})
    wants: ClassVar[frozenset[str]] = frozenset({"gradients"})
    guides: ClassVar[bool] = True

    weight: Annotated[float, Field(gt=0)] = 10.0
    """lambda; smaller where corrections are noisy."""

    def forward(self, network: Any, inputs: Tensor, guidance: Any) -> tuple[Tensor, Tensor]:
        """Logits, and the penalty of a batch."""
        inputs = inputs.detach().requires_grad_()
        logits: Tensor = network(inputs)
        some = guidance.corrected
        if not some.any():
            return logits, logits.new_zeros(())
        answers = log_softmax(logits, dim=1)[some].sum()
        gradients = torch.autograd.grad(answers, inputs, create_graph=True)[0][some]
        wrong = guidance.wrong[some]
        wrong = wrong[:, None] if gradients.ndim == 4 else wrong
        return logits, self.weight * (gradients * wrong).square().sum() / len(inputs)


@dataclass(frozen=True, kw_only=True)
class RrrGradCam(Feedback, name="rrr_gradcam"):
    """Penalise the Grad-CAM map of the label, of the last convolution, on what was marked wrongly relevant."""

    kinds: ClassVar[Kinds] = frozenset({"image"})
    wants: ClassVar[frozenset[str]] = frozenset({"gradients"})
    guides: ClassVar[bool] = True

    weight: Annotated[float, Field(gt=0)] = 1.0
    """lambda; smaller where corrections are noisy."""

    def forward(self, network: Any, inputs: Tensor, guidance: Any) -> tuple[Tensor, Tensor]:
        """Logits, and the penalty of a batch."""
        layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
        if not layers:
            raise XalError("rrr_gradcam wants a network with convolutions; take rrr")
        seen: list[Tensor] = []
        hook = layers[-1].register_forward_hook(lambda _layer, _inputs, output: seen.append(output))
        try:
            logits: Tensor = network(inputs)
        finally:
            hook.remove()
        some = guidance.corrected
        if not some.any():
            return logits, logits.new_zeros(())
        of_label = logits.gather(1, guidance.labels[:, None])[some].sum()
        gradients = torch.autograd.grad(of_label, seen[-1], create_graph=True)[0][some]
        maps = (gradients.mean(dim=(2, 3), keepdim=True) * seen[-1][some]).sum(dim=1, keepdim=True).relu()
        maps = interpolate(maps, guidance.wrong.shape[1:], mode="bilinear", align_corners=False)[:, 0]
        return logits, self.weight * (maps * guidance.wrong[some]).square().sum() / len(inputs)
