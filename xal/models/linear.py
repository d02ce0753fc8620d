"""A linear classifier of feature vectors: multinomial logistic regression when trained by cross-entropy."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from xal.models.model import Model, Shape


@dataclass(frozen=True, kw_only=True)
class Linear(Model, name="linear"):
    """Logits W x + b of a pool's feature vectors (so far for scoring alone: no campaign trains it yet)."""

    kind: ClassVar[Literal["image", "features"]] = "features"

    def shape(self, pool: Shape) -> Shape:
        """(d, 1, 1)."""
        return pool

    def build(self, shape: Shape, classes: int) -> nn.Module:
        """One layer."""
        return nn.Sequential(nn.Flatten(), nn.Linear(shape[0], classes))

    def preprocess(self, images: Tensor) -> Tensor:
        """Features (b, d) as they are."""
        return images.float()
