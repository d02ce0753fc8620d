"""A linear classifier of feature vectors in torch: logistic regression by gradient descent, with gradients."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from xal.models.torch.model import TorchModel
from xal.types import Kind, Shape


@dataclass(frozen=True, kw_only=True)
class Linear(TorchModel, name="linear"):
    """Logits W x + b of feature vectors."""

    @property
    def kind(self) -> Kind:
        """`features`."""
        return "features"

    def build(self, shape: Shape, n_classes: int) -> nn.Module:
        """A single linear layer."""
        return nn.Sequential(nn.Linear(shape[0], n_classes))
