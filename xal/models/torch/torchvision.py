"""torchvision's ResNets by name, with weights that are random, read from a local file, or downloaded by torchvision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from xal.encoders.torchvision_weights import (
    DEVIATION,
    MEAN,
    load_weights,
    read_weights,
    to_download,
    torchvision_models,
)
from xal.errors import XalError
from xal.models.torch.model import TorchModel
from xal.types import Shape

FIELD = "model.weights"


@dataclass(frozen=True, kw_only=True)
class Torchvision(TorchModel, name="torchvision"):
    """A torchvision ResNet; inputs are normalised with the ImageNet mean and standard deviation."""

    default_strategy: ClassVar[str] = "ebano_uncertainty"

    channels: Literal[1, 3] | None = 3
    architecture: Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"] = "resnet18"
    """Which ResNet."""
    weights: str | None = None
    """null: random weights; or a path to .safetensors or .pth with torchvision's key names; or a torchvision name such
    as IMAGENET1K_V1, which is downloaded. A last layer of another width is initialised at random."""

    @property
    def default_explainer(self) -> str:
        """EBAnO, which reads the convolutions."""
        return "ebano"

    @property
    def download(self) -> str | None:
        """The weights, if they have torchvision's name and are not in torch's cache."""
        return to_download(self.architecture, self.weights, FIELD)

    def build(self, shape: Shape, n_classes: int) -> nn.Module:
        """Raises XalError unless there are 3 channels, DataError if the weights cannot be loaded."""
        if shape[0] != 3:
            raise XalError(f"{self.architecture} takes 3 channels, got {shape[0]}; set model.channels: 3")
        models = torchvision_models("model 'torchvision'")
        module: nn.Module = models.get_model(self.architecture, weights=None, num_classes=n_classes)
        if self.weights is not None:
            load_weights(module, read_weights(self.architecture, self.weights, FIELD), FIELD)
        return module

    def untrained(self) -> TorchModel:
        """The same model without `weights`."""
        return replace(self, weights=None)

    def preprocess(self, images: Tensor) -> Tensor:
        """Images 0-255, normalised by ImageNet's mean and standard deviation."""
        mean, deviation = (torch.tensor(rgb, device=images.device)[:, None, None] * 255 for rgb in (MEAN, DEVIATION))
        return (images.to(torch.float32) - mean) / deviation
