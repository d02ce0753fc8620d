"""A self-explaining network (SENN; Alvarez-Melis & Jaakkola 2018), as CALI uses it: explanations are exact and free.

    f_c(x) = w_c(x)' phi(x) + b_c,    p = softmax(f)
    for two classes, f = (-z / 2, z / 2) with z = w(x)' phi(x) + b, so that p = sigma(z)

w(x) is a fully connected network of `layers` layers. Its outputs pass through 2 sigma - 1, so that |w| <= 1: CALI's
ranking loss is linear in w and would otherwise have no minimum. phi is the identity, a second network that is learned,
or a frozen module, which a function `package.module:function` makes for the number of inputs. The regulariser

    Omega = || grad_x w(x)' phi(x) - w(x)' J_phi(x) ||    (w of the label; with two classes, of z; mean over the batch)

makes w vary slowly with phi. The subtracted term is a vector-Jacobian product, so J_phi is never built.
Departure: the paper has no bias b; without one, a network with phi(x) = 0 can only predict 1/2.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from xal.core import imports
from xal.core._typing import Field
from xal.errors import ConfigError, XalError
from xal.models.torch.model import TorchModel
from xal.types import Kind, Shape


@dataclass(frozen=True, kw_only=True)
class Senn(TorchModel, name="senn"):
    """Self-explaining network."""

    layers: Annotated[int, Field(ge=1)] = 3
    """Layers of the network w(x)."""
    width: Annotated[int, Field(ge=1)] = 100
    """Units of each hidden layer."""
    phi: str = "identity"
    """identity, learned, or `package.module:function`: number of inputs -> a torch module, which stays frozen."""
    concepts: Annotated[int, Field(ge=1)] = 16
    """Number of concepts, the outputs of a learned phi."""
    alpha: Annotated[float, Field(ge=0)] = 0.01
    """Weight of the regulariser Omega in the loss."""
    of: Literal["image", "features"] = "features"
    """Kind of item that the pool holds; pixels are scaled to 0-1."""

    @property
    def kind(self) -> Kind:
        """The kind given by `of`."""
        return self.of

    @property
    def provides(self) -> frozenset[str]:
        """`gradients` and `self_explaining`; `concepts` too, unless phi is the identity."""
        return frozenset(
            {"gradients", "gradient_descent", "self_explaining", "sampled_probabilities"}
            | (set() if self.phi == "identity" else {"concepts"})
        )

    @property
    def default_explainer(self) -> str:
        """`self_explaining`, which reads the weights."""
        return "self_explaining"

    def input_shape(self, pool: Shape) -> Shape:
        """(c, h, w) or (d,); raises ConfigError for colour images with phi: identity, XalError for an invalid phi."""
        shape = super().input_shape(pool)
        if len(shape) == 3 and shape[0] > 1 and self.phi == "identity":
            raise ConfigError(["model: senn explains grey pixels; set model.channels to 1, or set phi: learned"])
        if self.phi not in ("identity", "learned"):
            _imported_phi(self.phi, math.prod(shape))  # reports mistakes before anything is labelled
        return shape

    def build(self, shape: Shape, n_classes: int) -> nn.Module:
        """A `SelfExplaining` module; raises XalError for an invalid phi."""
        inputs = math.prod(shape)
        if self.phi == "identity":
            phi: nn.Module = nn.Identity()
        elif self.phi == "learned":
            phi = nn.Sequential(nn.Linear(inputs, self.width), nn.ReLU(), nn.Linear(self.width, self.concepts))
        else:
            phi = _imported_phi(self.phi, inputs).requires_grad_(False)
        return SelfExplaining(phi, inputs, [self.width] * (self.layers - 1), n_classes)

    def regularizer(self, module: Any, inputs: Tensor, labels: Tensor) -> Tensor | None:
        """alpha Omega of a batch; None if alpha is 0."""
        if not self.alpha:
            return None
        inputs = inputs.detach().requires_grad_()
        return self.alpha * omega(module, inputs, labels)


def omega(module: Any, inputs: Tensor, classes: Tensor) -> Tensor:
    """Omega of (b, ...) inputs that require gradients, for the f of each item's class (b,)."""
    x = inputs.flatten(1)
    weights, concepts = module.weights(x), module.phi(x)
    w = weights[torch.arange(len(x), device=x.device), classes]
    full = torch.autograd.grad((w * concepts).sum(), inputs, create_graph=True)[0]
    fixed = torch.autograd.grad(concepts, inputs, grad_outputs=w, create_graph=True)[
        0
    ]  # w' J_phi, which treats w as constant
    difference = (full - fixed).flatten(1)
    return (difference.square().sum(dim=1) + 1e-12).sqrt().mean()  # sqrt has no gradient at 0


@dataclass(frozen=True, eq=False, kw_only=True)
class SelfExplanation:
    """The terms of b items' margins: margin = (weights * concepts).sum(f) + bias, for each class."""

    logits: Tensor  # (b, c)
    margins: Tensor  # (b, c): the logits; for two classes, sigma^-1 of the probabilities
    weights: Tensor  # (b, c, f) in [-1, 1]
    concepts: Tensor  # (b, f) phi(x)
    bias: Tensor  # (c,)


class SelfExplaining(nn.Module):
    """A module whose logits are concepts times weights that depend on the input."""

    def __init__(self, phi: nn.Module, inputs: int, hidden: list[int], classes: int) -> None:
        super().__init__()
        self.phi, self.classes = phi, classes
        with torch.no_grad():
            self.features = int(phi(torch.zeros(1, inputs)).shape[1])
        outputs = 1 if classes == 2 else classes
        sizes = [inputs, *hidden, outputs * self.features]
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(itertools.pairwise(sizes)):
            layers += [nn.ReLU()] * (number > 0) + [nn.Linear(before, after)]
        self.w = nn.Sequential(*layers)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def weights(self, inputs: Tensor) -> Tensor:
        """(b, c, f) weights of the concepts for each class, in [-1, 1]."""
        w: Tensor = torch.tanh(self.w(inputs.flatten(1)) / 2).unflatten(1, (-1, self.features))  # 2 sigma - 1
        return torch.cat([-w, w], dim=1) if self.classes == 2 else w

    def explanation(self, inputs: Tensor) -> SelfExplanation:
        """The `SelfExplanation` of preprocessed inputs."""
        logits, weights = self.forward(inputs, explained=True)
        binary = self.classes == 2
        return SelfExplanation(
            logits=logits,
            margins=logits * (2 if binary else 1),
            weights=weights,
            concepts=self.phi(inputs.flatten(1)),
            bias=torch.cat([-self.bias, self.bias]) if binary else self.bias,
        )

    def forward(self, inputs: Tensor, explained: bool = False) -> Any:
        """(b, c) logits; with `explained`, (logits, (b, c, f) weights)."""
        weights = self.weights(inputs)
        concepts = self.phi(inputs.flatten(1))
        logits = torch.einsum("bcf,bf->bc", weights, concepts)
        logits = (logits + torch.cat([-self.bias, self.bias])) / 2 if self.classes == 2 else logits + self.bias
        return (logits, weights) if explained else logits


def _imported_phi(name: str, inputs: int) -> nn.Module:
    try:
        if ":" not in name:
            raise XalError("no ':' in it")
        module = imports.attribute(name)(inputs)
    except Exception as error:  # a user's module may raise anything
        raise XalError(
            f"senn.phi '{name}': expected identity, learned, or package.module:function ({error})"
        ) from error
    if not isinstance(module, nn.Module):
        raise XalError(f"senn.phi '{name}' returned {type(module).__name__}, expected a torch.nn.Module")
    return module
