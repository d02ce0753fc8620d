"""The convnet of ALEX (Mondal & Ganguly): conv 3x3 with 32 filters, dense 128, both ReLU, and a linear layer."""

from dataclasses import dataclass
from typing import Annotated

from torch import nn

from xal.hints import Field
from xal.models.model import Model, Shape


@dataclass(frozen=True, kw_only=True)
class Convnet(Model, name="convnet"):
    """ALEX's convnet, for small images."""

    filters: Annotated[int, Field(ge=1)] = 32
    hidden: Annotated[int, Field(ge=1)] = 128

    def build(self, shape: Shape, classes: int) -> nn.Module:
        """No padding and no pooling, as in the paper."""
        channels, height, width = shape
        return nn.Sequential(
            nn.Conv2d(channels, self.filters, kernel_size=3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(self.filters * (height - 2) * (width - 2), self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, classes),
        )
