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
    """Penalise the Grad-CAM map of the label, of the last convolution, on what was marked wrongly relevant."""

    kinds: ClassVar[Kinds] = frozenset({"image"})
    requires: ClassVar[frozenset[str]] = frozenset({"gradients", "conv_layers"})
    has_loss: ClassVar[bool] = True

    weight: Annotated[float, Field(gt=0)] = 1.0
    """lambda; smaller where corrections are noisy."""

    def forward(self, module: Any, inputs: Tensor, correction_targets: Any) -> tuple[Tensor, Tensor]:
        """Logits, and the penalty of a batch."""
        layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
        if not layers:
            raise XalError("rrr_gradcam wants a network with convolutions; take rrr")
        seen: list[Tensor] = []
        hook = layers[-1].register_forward_hook(lambda _layer, _inputs, output: seen.append(output))
        try:
            logits: Tensor = module(inputs)
        finally:
            hook.remove()
        some = correction_targets.corrected
        if not some.any():
            return logits, logits.new_zeros(())
        of_label = logits.gather(1, correction_targets.labels[:, None])[some].sum()
        gradients = torch.autograd.grad(of_label, seen[-1], create_graph=True)[0][some]
        maps = (gradients.mean(dim=(2, 3), keepdim=True) * seen[-1][some]).sum(dim=1, keepdim=True).relu()
        maps = interpolate(maps, correction_targets.wrong.shape[1:], mode="bilinear", align_corners=False)[:, 0]
        return logits, self.weight * (maps * correction_targets.wrong[some]).square().sum() / len(inputs)
