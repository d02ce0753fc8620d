"""A small residual network for images of 28-64 pixels: three stages, global average pooling (He et al. 2016, 4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from xal.core._typing import Field
from xal.models.torch.model import TorchModel
from xal.types import Shape


class _Block(nn.Module):
    """conv-bn-relu-conv-bn plus a shortcut (a 1x1 convolution if the shape changes)."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != width:
            self.shortcut = nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


@dataclass(frozen=True, kw_only=True)
class ResNet(TorchModel, name="resnet"):
    """A CIFAR-style ResNet of 6 * blocks + 2 layers."""

    default_strategy: ClassVar[str] = "ebano_uncertainty"

    width: Annotated[int, Field(ge=1)] = 16
    """Channels of the first stage."""
    blocks: Annotated[int, Field(ge=1)] = 1
    """Residual blocks of each stage."""

    @property
    def default_explainer(self) -> str:
        """EBAnO, which reads the convolutions."""
        return "ebano"

    def build(self, shape: Shape, n_classes: int) -> nn.Module:
        """Three stages of `width`, 2 `width` and 4 `width` channels; each halves the resolution of the one before."""
        layers: list[nn.Module] = [
            nn.Conv2d(shape[0], self.width, 3, padding=1, bias=False),
            nn.BatchNorm2d(self.width),
            nn.ReLU(),
        ]
        width_in = self.width
        for stage in range(3):
            for block in range(self.blocks):
                width = self.width * 2**stage
                layers.append(_Block(width_in, width, stride=2 if stage and not block else 1))
                width_in = width
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width_in, n_classes))
