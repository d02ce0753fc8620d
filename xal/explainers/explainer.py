"""The family of explainers: which parts of an image speak for a class, and how strongly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from xal.component import Component
from xal.hints import Float, Integer, Shaped
from xal.types import Explanations


@runtime_checkable
class Network(Protocol):
    """What an explainer needs of an image classifier."""

    @property
    def module(self) -> nn.Module:
        """The module whose layers `conv_layers` names; in evaluation mode, which is the caller's matter."""
        ...

    def probabilities(self, images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b c"]:
        """Softmax probabilities (rows sum to 1) of float images 0-255, in one forward of `module`."""
        ...

    def conv_layers(self) -> Sequence[str]:
        """Names of the convolutional layers within `module`, in the order of the forward."""
        ...


class Explainer(Component, ABC, family="explainer"):
    """Base of the explainers. Deterministic: the same images, network and configuration give the same result."""

    @abstractmethod
    def explain(
        self, network: Network, images: Shaped[Tensor, "b ch h w"], classes: Integer[Tensor, " b"] | None = None
    ) -> Explanations:
        """Explain the network's output for each image.

        images: uint8 or float, 0-255, on the module's device.
        classes: the class of interest of each image; the predicted class where None.
        """

    @abstractmethod
    def check(self, explanations: Explanations) -> None:
        """Raise NumericalError unless the explainer's invariant holds for every explanation."""
