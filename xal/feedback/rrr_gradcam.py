"""Right for the right reasons by Grad-CAM (Schramowski et al. 2020): see `rrr`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from xal.core._typing import Field
from xal.errors import XalError
from xal.feedback.feedback import Feedback, Kinds


@dataclass(frozen=True, kw_only=True)
class RrrGradCam(Feedback, name="rrr_gradcam"):
    """Penalise the Grad-CAM map of the label, at the last convolution, on the components marked wrong."""

    kinds: ClassVar[Kinds] = frozenset({"image"})
    requires: ClassVar[frozenset[str]] = frozenset({"gradient_descent", "conv_layers"})
    has_loss: ClassVar[bool] = True

    weight: Annotated[float, Field(gt=0)] = 1.0
    """lambda, the weight of the penalty; use smaller values for noisy corrections."""

    def forward(self, module: Any, inputs: Tensor, correction_targets: Any) -> tuple[Tensor, Tensor]:
        """(logits (b, c), weighted penalty); XalError for a network without convolutions."""
        layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
        if not layers:
            raise XalError("rrr_gradcam needs a network with convolutions; use rrr")
        outputs: list[Tensor] = []
        hook = layers[-1].register_forward_hook(lambda _layer, _inputs, output: outputs.append(output))
        try:
            logits: Tensor = module(inputs)
        finally:
            hook.remove()
        corrected = correction_targets.corrected  # (b,) bool
        if not corrected.any():
            return logits, logits.new_zeros(())
        label_logits = logits.gather(1, correction_targets.labels[:, None])[corrected].sum()
        gradients = torch.autograd.grad(label_logits, outputs[-1], create_graph=True)[0][corrected]
        maps = (gradients.mean(dim=(2, 3), keepdim=True) * outputs[-1][corrected]).sum(dim=1, keepdim=True).relu()
        maps = interpolate(maps, correction_targets.wrong.shape[1:], mode="bilinear", align_corners=False)[:, 0]
        return logits, self.weight * (maps * correction_targets.wrong[corrected]).square().sum() / len(inputs)
