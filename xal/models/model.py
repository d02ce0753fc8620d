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
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from xal.component import Component
from xal.errors import XalError
from xal.hints import Field
from xal.types import Output

Kind = Literal["image", "features", "text"]
Shape = tuple[int, ...]
"""Of an item as the network takes it: (c, h, w) of images, (d,) of features, () of texts."""


@dataclass(frozen=True, kw_only=True)
class Model(Component, ABC, family="model"):
    """Base of all classifiers."""

    @property
    def kind(self) -> Kind:
        """What its pools hold."""
        return "image"

    @property
    def offers(self) -> frozenset[str]:
        """What explainers may ask for besides answers: gradients, or a linear margin."""
        return frozenset({"gradients"})

    size: Annotated[int, Field(ge=8)] | None = None
    """Images are resized to size x size pixels; null: as the pool's first image."""
    channels: Literal[1, 3] | None = None
    """1 grey, 3 RGB; null: as the pool's first image."""

    def shape(self, pool: Shape) -> Shape:
        """(c, h, w) of what the network sees, given the shape of the pool's own items."""
        height, width = (self.size, self.size) if self.size else pool[1:]
        return (self.channels or pool[0], height, width)

    @abstractmethod
    def build(self, shape: Shape, classes: int) -> nn.Module:
        """A new network: preprocessed images (b, *shape) -> logits (b, classes)."""

    def preprocess(self, images: Tensor) -> Tensor:
        """Images (b, c, h, w), 0-255, uint8 or float -> what the network takes; [0, 1] by default."""
        return images.to(torch.float32) / 255

    def network(self, weights: dict[str, Tensor], shape: Shape, classes: int, **where: Any) -> Any:
        """The trained network, ready to answer; `where` as Network's."""
        module = self.untrained().create(shape, classes, seed=0)
        module.load_state_dict(weights)
        return Network(self, module, **where)

    def regularizer(self, module: Any, inputs: Tensor, labels: Tensor) -> Tensor | None:
        """A term of the training loss of the model's own; None: it has none."""
        return None

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
        self.kind: Kind = model.kind
        self.background: Tensor | None = None
        self._forward: Callable[[Tensor], Tensor] = (
            torch.compile(self.module, dynamic=True) if compiled else self.module
        )

    def conv_layers(self) -> Sequence[str]:
        """Names of the convolutional layers, in the order they are defined."""
        return [name for name, layer in self.module.named_modules() if isinstance(layer, nn.Conv2d)]

    def probabilities(self, images: Tensor) -> Tensor:
        """(b, c) softmax probabilities of images (b, c, h, w), 0-255, or of features (b, d)."""
        return torch.softmax(self.logits(images), dim=1)

    def logits(self, images: Tensor) -> Tensor:
        """(b, c) before the softmax."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            forward = self.module if self._hooked() else self._forward
            logits = forward(self.model.preprocess(images))
        return logits if logits.dtype == torch.float64 else logits.float()

    def outputs(self, payload: Tensor, output: Output) -> Tensor:
        """(b, c) what an explainer explains."""
        return self.probabilities(payload) if output == "probability" else self.logits(payload)

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
