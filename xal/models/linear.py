"""A linear classifier of feature vectors in torch: logistic regression by gradient descent, with gradients."""

from dataclasses import dataclass

from torch import Tensor, nn

from xal.models.model import Kind, Model, Shape


@dataclass(frozen=True, kw_only=True)
class Linear(Model, name="linear"):
    """Logits W x + b of a pool's feature vectors, taken as they are."""

    @property
    def kind(self) -> Kind:
        """Features."""
        return "features"

    def shape(self, pool: Shape) -> Shape:
        """(d,)."""
        return pool

    def build(self, shape: Shape, classes: int) -> nn.Module:
        """One layer."""
        return nn.Sequential(nn.Linear(shape[0], classes))

    def preprocess(self, images: Tensor) -> Tensor:
        """Features (b, d) as they are."""
        return images.float()
