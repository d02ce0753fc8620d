"""A trained torch module, ready to predict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from xal.errors import XalError
from xal.models.dropped import DRAWS, SHARE, dropped
from xal.models.model import Precision
from xal.types import Kind, Output


class Preprocessing(Protocol):
    """What a classifier needs from its model."""

    @property
    def kind(self) -> Kind:
        """Kind of item that the model takes."""
        ...

    @property
    def provides(self) -> frozenset[str]:
        """Capabilities besides predictions; see `Classifier`."""
        ...

    def preprocess(self, inputs: Tensor) -> Tensor:
        """Raw inputs -> inputs of the module."""
        ...


class TorchClassifier:
    """A trained module on a device, in evaluation mode.

    Weights are stored channels last, which makes convolutions on a CPU faster and only changes rounding.
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
        """Raw inputs -> inputs of `module`."""
        return self.model.preprocess(inputs)

    def conv_layers(self) -> Sequence[str]:
        """Names of the convolutional layers within `module`, in the order they are defined."""
        return [name for name, layer in self.module.named_modules() if isinstance(layer, nn.Conv2d)]

    def probabilities(self, inputs: Tensor) -> Tensor:
        """(b, c) softmax probabilities of images (b, c, h, w) in 0-255, or of features (b, d)."""
        return torch.softmax(self.logits(inputs), dim=1)

    def logits(self, inputs: Tensor) -> Tensor:
        """(b, c) logits; a compiled module runs eagerly if a layer has hooks or the inputs require gradients."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            forward = self.module if self._hooked() or inputs.requires_grad else self._forward
            logits = forward(self.preprocess(inputs))
        return logits if logits.dtype == torch.float64 else logits.float()

    def outputs(self, inputs: Tensor, output: Output) -> Tensor:
        """(b, c) probabilities, or the logits as margins."""
        return self.probabilities(inputs) if output == "probability" else self.logits(inputs)

    def self_explanation(self, inputs: Tensor) -> Any:
        """The `SelfExplanation` of a self-explaining module; raises XalError for other modules."""
        if "self_explaining" not in self.provides:
            raise XalError("self_explaining only explains the model senn; choose another explainer for this model")
        module: Any = self.module
        return module.explanation(self.preprocess(inputs))

    @property
    def head(self) -> TorchClassifier:
        """Itself: it has no encoder."""
        return self

    def embed(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """((b, c) probabilities, (b, d) inputs of the last linear layer), computed in one forward pass."""
        embeddings: list[Tensor] = []
        last = last_linear(self.module)
        hook = last.register_forward_pre_hook(lambda _layer, inputs: embeddings.append(inputs[0].flatten(1)))
        try:
            probabilities = self.probabilities(inputs)
        finally:
            hook.remove()
        return probabilities, embeddings[-1]

    def contrast(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(probabilities, embeddings, (w_first - w_second) * embedding), w the weights of the last linear layer."""
        probabilities, embeddings = self.embed(inputs)
        weights = last_linear(self.module).weight.detach().to(embeddings)
        first, second = probabilities.topk(2, dim=1).indices.T
        return probabilities, embeddings, (weights[first] - weights[second]) * embeddings

    def sampled_probabilities(self, inputs: Tensor) -> Tensor:
        """(b, t, c) under draws of the module's own dropout; without any, of 3/4 of the last layer's inputs."""
        own = [layer for layer in self.module.modules() if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p]
        if not own:
            probabilities, embeddings = self.embed(inputs)
            last = last_linear(self.module)
            again = torch.softmax(last(embeddings.to(last.weight)), dim=1)
            if again.shape == probabilities.shape and torch.allclose(again, probabilities, atol=1e-4):
                draws = [_Dropped(draw, 0, SHARE)(last, None, embeddings) for draw in range(DRAWS)]
                return torch.stack([torch.softmax(last(each.to(last.weight)), dim=1) for each in draws], dim=1)
        sampled = []
        for draw in range(DRAWS):
            if own:
                hooks = [layer.register_forward_hook(_Dropped(draw, n, layer.p)) for n, layer in enumerate(own)]
            else:
                hooks = [last_linear(self.module).register_forward_pre_hook(_Dropped(draw, 0, SHARE).before)]
            try:
                sampled.append(self.probabilities(inputs))
            finally:
                for hook in hooks:
                    hook.remove()
        return torch.stack(sampled, dim=1)

    def _hooked(self) -> bool:
        """Whether a layer has hooks, which a compiled graph would not call."""
        return self._forward is not self.module and any(
            layer._forward_hooks or layer._forward_pre_hooks for layer in self.module.modules()
        )


class _Dropped:
    """A hook that drops features of a layer's output, the same of all items: channels of images, else last columns."""

    def __init__(self, draw: int, layer: int, share: float) -> None:
        self.draw, self.layer, self.share = draw, layer, share

    def __call__(self, _layer: nn.Module, _inputs: Any, values: Tensor) -> Tensor:
        """The layer's output with dropped features."""
        axis = 1 if values.ndim >= 4 else values.ndim - 1
        factors = torch.from_numpy(dropped(self.draw, self.layer, values.shape[axis], self.share)).to(values)
        return values * factors.reshape([-1 if each == axis else 1 for each in range(values.ndim)])

    def before(self, layer: nn.Module, inputs: Any) -> Tensor:
        """The layer's input with dropped features."""
        return self(layer, None, inputs[0])


def last_linear(module: nn.Module) -> nn.Linear:
    """The last linear layer; raises XalError if there is none."""
    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    if not linear:
        raise XalError("this model has no linear layer, so it has no embedding; choose a strategy that needs none")
    return linear[-1]
