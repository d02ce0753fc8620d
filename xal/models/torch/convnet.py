"""The convnet of ALEX (Mondal & Ganguly): 3x3 convolution with 32 filters, 128 dense units, a linear layer; ReLU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import nn

from xal.core._typing import Field
from xal.models.torch.model import TorchModel
from xal.types import Shape


@dataclass(frozen=True, kw_only=True)
class Convnet(TorchModel, name="convnet"):
    """ALEX's convnet, for small images."""

    default_strategy: ClassVar[str] = "ebano_uncertainty"

    filters: Annotated[int, Field(ge=1)] = 32
    """Of the convolution."""
    hidden: Annotated[int, Field(ge=1)] = 128
    """Units of the dense layer."""

    @property
    def default_explainer(self) -> str:
        """EBAnO, which reads the convolutions."""
        return "ebano"

    def build(self, shape: Shape, n_classes: int) -> nn.Module:
        """No padding and no pooling, as in the paper."""
        channels, height, width = shape
        return nn.Sequential(
            nn.Conv2d(channels, self.filters, kernel_size=3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(self.filters * (height - 2) * (width - 2), self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, n_classes),
        )
