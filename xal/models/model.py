"""What a model offers: probabilities, embeddings, and its named convolutional layers.

A user's model derives from `Model`, implements `build`, and is named `module:Class` in the recipe:

    @dataclass(frozen=True, kw_only=True)
    class Mine(Model):
        width: int = 8
        def build(self, shape, classes):
            ...return a torch.nn.Module: float images (b, c, h, w) -> logits (b, classes)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from xal.component import Component
from xal.errors import XalError
from xal.hints import Field

Shape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Model(Component, ABC, family="model"):
    """Base of all classifiers."""

    kind: ClassVar[Literal["image", "features"]] = "image"
    """What its pools hold."""

    size: Annotated[int, Field(ge=8)] | None = None
    """Images are resized to size x size pixels; null: as the pool's first image."""
    channels: Literal[1, 3] | None = None
    """1 grey, 3 RGB; null: as the pool's first image."""

    def shape(self, pool: Shape) -> Shape:
        """(c, h, w) of what the network sees, given the pool's own image shape."""
        height, width = (self.size, self.size) if self.size else pool[1:]
        return (self.channels or pool[0], height, width)

    @abstractmethod
    def build(self, shape: Shape, classes: int) -> nn.Module:
        """A new network: preprocessed images (b, *shape) -> logits (b, classes)."""

    def preprocess(self, images: Tensor) -> Tensor:
        """Images (b, c, h, w), 0-255, uint8 or float -> what the network takes; [0, 1] by default."""
        return images.to(torch.float32) / 255

    def untrained(self) -> Model:
        """The same network without its pretrained weights: for those who load others over them."""
        return self

    def create(self, shape: Shape, classes: int, seed: int) -> nn.Module:
        """`build` with its random weights drawn from `seed`; the global generator is left as it was."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self.build(shape, classes)


Precision = Literal["float32", "bfloat16"]


class Network:
    """A model with weights on a device, ready to answer.

    Weights lie channels last, which saves convolutions on a CPU time and changes nothing but rounding.
    precision: bfloat16 computes under autocast, faster and coarser. compiled: by torch.compile.
    """

    def __init__(
        self,
        model: Model,
        module: nn.Module,
        device: str = "cpu",
        *,
        precision: Precision = "float32",
        compiled: bool = False,
    ) -> None:
        self.model, self.device, self.precision = model, torch.device(device), precision
        self.module: nn.Module = module.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._forward: Callable[[Tensor], Tensor] = (
            torch.compile(self.module, dynamic=True) if compiled else self.module
        )

    def conv_layers(self) -> Sequence[str]:
        """Names of the convolutional layers, in the order they are defined."""
        return [name for name, layer in self.module.named_modules() if isinstance(layer, nn.Conv2d)]

    def probabilities(self, images: Tensor) -> Tensor:
        """(b, c) softmax probabilities of images (b, c, h, w), 0-255."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            forward = self.module if self._hooked() else self._forward
            return torch.softmax(forward(self.model.preprocess(images)).float(), dim=1)

    def _hooked(self) -> bool:
        """Whether somebody listens to a layer: a compiled graph would not call them."""
        return self._forward is not self.module and any(
            layer._forward_hooks or layer._forward_pre_hooks for layer in self.module.modules()
        )

    def embed(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """((b, c) probabilities, (b, d) inputs of the last linear layer) in one forward."""
        linear = [layer for layer in self.module.modules() if isinstance(layer, nn.Linear)]
        if not linear:
            raise XalError(f"model '{self.model.name}' has no linear layer, so no embedding is defined for it")
        seen: list[Tensor] = []
        hook = linear[-1].register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0].flatten(1)))
        try:
            probabilities = self.probabilities(images)
        finally:
            hook.remove()
        return probabilities, seen[-1]
