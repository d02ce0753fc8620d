"""Small models of each kind, untrained, and images for them."""

from typing import Any

import torch

from xal.models import TorchClassifier, TorchModel
from xal.models.torch.convnet import Convnet
from xal.models.torch.perceptron import Perceptron
from xal.models.torch.resnet import ResNet
from xal.models.torch.torchvision import Torchvision

GREY, COLOUR, CLASSES = (1, 28, 28), (3, 64, 64), 5
SMALL: dict[str, TorchModel] = {
    "convnet": Convnet(filters=4, hidden=16),
    "resnet": ResNet(width=4),
    "torchvision": Torchvision(),
    "perceptron": Perceptron(hidden=(16,)),
}


def images(shape: tuple[int, ...], b: int = 4, seed: int = 0) -> torch.Tensor:
    """(b, *shape) uint8 noise."""
    return torch.randint(0, 256, (b, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def classifier(model: Any, shape: tuple[int, ...]) -> TorchClassifier:
    """With random weights."""
    return TorchClassifier(model, model.create(shape, CLASSES, seed=0))
