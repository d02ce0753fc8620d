"""A trained torch module, ready to predict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from xal.errors import XalError
from xal.models.model import Precision
from xal.types import Kind, Output


class Preprocessing(Protocol):
    """What a classifier needs of its model."""

    @property
    def kind(self) -> Kind:
        """What its pools hold."""
        ...

    @property
    def provides(self) -> frozenset[str]:
        """What it offers to explainers."""
        ...

    def preprocess(self, inputs: Tensor) -> Tensor:
        """Inputs as they come -> what the module takes."""
        ...


class TorchClassifier:
    """A module with weights on a device, in evaluation mode.

    Weights lie channels last, which saves convolutions on a CPU time and changes nothing but rounding.
    """

    def __init__(
        self,
        model: Preprocessing,
        module: nn.Module,
        device: str = "cpu",
        *,
        precision: Precision = "float32",
        compiled: bool = False,
    ) -> None:
        self.model, self.device, self.precision = model, torch.device(device), precision
        self.module: nn.Module = module.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.kind: Kind = model.kind
        self.provides = model.provides
        self._forward: Callable[[Tensor], Tensor] = (
            torch.compile(self.module, dynamic=True) if compiled else self.module
        )

    def preprocess(self, inputs: Tensor) -> Tensor:
        """Inputs as they come -> what `module` takes."""
        return self.model.preprocess(inputs)

    def conv_layers(self) -> Sequence[str]:
        """Names of the convolutional layers within `module`, in the order they are defined."""
        return [name for name, layer in self.module.named_modules() if isinstance(layer, nn.Conv2d)]

    def probabilities(self, inputs: Tensor) -> Tensor:
        """(b, c) softmax probabilities of images (b, c, h, w), 0-255, or of features (b, d)."""
        return torch.softmax(self.logits(inputs), dim=1)

    def logits(self, inputs: Tensor) -> Tensor:
        """(b, c) before the softmax; differentiable, unless the model is compiled and no layer is hooked."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            forward = self.module if self._hooked() or inputs.requires_grad else self._forward
            logits = forward(self.preprocess(inputs))
        return logits if logits.dtype == torch.float64 else logits.float()

    def outputs(self, inputs: Tensor, output: Output) -> Tensor:
        """(b, c) what an explainer explains."""
        return self.probabilities(inputs) if output == "probability" else self.logits(inputs)

    def self_explanation(self, inputs: Tensor) -> Any:
        """What a self-explaining module says of its logits; XalError for any other."""
        if "self_explaining" not in self.provides:
            raise XalError("self_explaining explains the model senn; choose another explainer for this one")
        module: Any = self.module
        return module.explanation(self.preprocess(inputs))

    def embed(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """((b, c) probabilities, (b, d) inputs of the last linear layer) in one forward."""
        linear = [layer for layer in self.module.modules() if isinstance(layer, nn.Linear)]
        if not linear:
            raise XalError("this model has no linear layer, so no embedding is defined for it")
        seen: list[Tensor] = []
        hook = linear[-1].register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0].flatten(1)))
        try:
            probabilities = self.probabilities(inputs)
        finally:
            hook.remove()
        return probabilities, seen[-1]

    def _hooked(self) -> bool:
        """Whether somebody listens to a layer: a compiled graph would not call them."""
        return self._forward is not self.module and any(
            layer._forward_hooks or layer._forward_pre_hooks for layer in self.module.modules()
        )
