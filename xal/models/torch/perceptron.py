"""A multilayer perceptron in torch, on pixels or on features of a table; unlike `mlp`, it has gradients."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from xal.core._typing import Field
from xal.models.torch.model import TorchModel
from xal.types import Kind, Shape


@dataclass(frozen=True, kw_only=True)
class Perceptron(TorchModel, name="perceptron"):
    """Dense layers with ReLU."""

    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (50, 30)
    """Units of each hidden layer."""
    of: Literal["image", "features"] = "image"
    """Kind of item that the pool holds."""
    scale: Annotated[float, Field(gt=0)] | None = None
    """Inputs are divided by this number; null: 255 for images, which scales them to 0-1, and 1 for features."""
    init: Annotated[float, Field(gt=0)] | None = None
    """Standard deviation of normal initial weights and biases; null: torch's default, uniform by the layer's width."""

    @property
    def kind(self) -> Kind:
        """The kind given by `of`."""
        return self.of

    def build(self, shape: Shape, n_classes: int) -> nn.Module:
        """Flattens the input and applies the dense layers."""
        sizes = [int(torch.tensor(shape).prod()), *self.hidden, n_classes]
        layers: list[nn.Module] = [nn.Flatten()]
        for number, (before, after) in enumerate(itertools.pairwise(sizes)):
            layers += [nn.ReLU()] * (number > 0)
            dense = nn.Linear(before, after)
            if self.init is not None:
                nn.init.normal_(dense.weight, std=self.init)
                nn.init.normal_(dense.bias, std=self.init)
            layers.append(dense)
        return nn.Sequential(*layers)

    def preprocess(self, inputs: Tensor) -> Tensor:
        """Inputs as float32, divided by `scale`."""
        return super().preprocess(inputs) if self.scale is None else inputs.to(torch.float32) / self.scale
