"""The family of explainers: which parts of an item speak for a class, and how strongly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from xal import words
from xal.component import Component
from xal.errors import NumericalError, XalError
from xal.hints import Float, Integer
from xal.types import Explanations, Floats, Matrix, Output

Payload = Any
"""Images (b, c, h, w) uint8 or float 0-255, or features (b, d), on the network's device; or texts (b,) str."""
COMPLETE = 1e-4
"""Of the largest output: what a complete explanation may miss, in float32."""


@runtime_checkable
class Network(Protocol):
    """What an explainer needs of an image classifier; classifiers of texts and tables have no layers."""

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
    """Base of the explainers. Deterministic: the same item, network and configuration give the same result."""

    kinds: ClassVar[frozenset[str]] = frozenset({"image"})
    """Which pools it explains: image, text, features."""
    wants: ClassVar[frozenset[str]] = frozenset()
    """What it needs of a model besides answers: gradients, or a linear margin."""
    space: ClassVar[Literal["shared", "own", "ebano"]] = "shared"
    """Whether all items have the same features, or each has its own; ebano: its own, with nPIR and nPIRP."""
    tolerance: ClassVar[float | None] = None
    """What base + attributions may miss of the output, of its largest value, in float32; None: they need not sum."""

    def unfit(self, kind: str) -> str | None:
        """Why it does not explain pools of that kind; None: it does."""
        return None if kind in self.kinds else f"explains {', '.join(sorted(self.kinds))}, the pool holds {kind}"

    @property
    def background_items(self) -> int:
        """How many labelled items it wants as background, drawn at random each round; 0: none."""
        return 0

    @abstractmethod
    def explain(self, network: Any, payload: Payload, classes: Integer[Tensor, " b"] | None = None) -> Explanations:
        """Explain the network's output for each item.

        classes: the class of interest of each item; the predicted class where None.
        """

    def explain_all(self, network: Any, payload: Payload, classes: int) -> tuple[Explanations, ...]:
        """The explanations of every class 0..classes-1."""
        return tuple(
            self.explain(network, payload, torch.full((len(payload),), number, dtype=torch.int64))
            for number in range(classes)
        )

    def represent(self, payload: Payload) -> Matrix:
        """(b, f) x', items in the explanation space; asks no model. By default words, numbers, or grey pixels 0-1."""
        if not isinstance(payload, Tensor):
            return words.presence(payload)
        if payload.ndim == 2:
            return payload.double().cpu().numpy()
        return payload.double().mean(dim=1).flatten(1).cpu().numpy() / 255

    def check(self, explanations: Explanations) -> None:
        """Raise NumericalError unless the explainer's invariant holds for every explanation: completeness where it has
        a `tolerance`, else finite attributions."""
        if self.tolerance is not None:
            check_complete(explanations, self.tolerance)
        elif not np.isfinite(_numbers(_unpadded(explanations))).all():
            raise NumericalError("some attributions are not finite; look at the model's weights")


def check_complete(explanations: Explanations, tolerance: float = COMPLETE) -> None:
    """Raise NumericalError unless base + attributions sum to the output, within `tolerance` of the largest output."""
    if explanations.base is None or explanations.output is None:
        raise NumericalError("these explanations hold no base and output to be complete against")
    values = _unpadded(explanations)
    missed = np.abs(explanations.base + np.asarray(values.sum(axis=1)).ravel() - explanations.output)
    scale = max(1.0, *(float(np.abs(each).max(initial=0)) for each in (explanations.output, _numbers(values))))
    wrong = ~(missed <= tolerance * scale)
    if wrong.any():
        raise NumericalError(
            f"of {len(explanations)} explanations {int(wrong.sum())} are not complete: base + attributions misses the "
            f"output by up to {missed.max():.3g}; raise the explainer's evaluations or steps, or look at the model"
        )


def _unpadded(explanations: Explanations) -> Matrix:
    """(b, f) attributions, 0 for NaN beyond the features of an image's own."""
    if explanations.own is None:
        return explanations.attributions
    k = explanations.segments.max(axis=(1, 2)) + 1
    return np.where(np.arange(explanations.attributions.shape[1]) < k[:, None], explanations.attributions, 0.0)


def _numbers(values: Matrix) -> Floats:
    """Of a matrix that may be sparse."""
    return np.asarray(values if isinstance(values, np.ndarray) else values.data)


def explained_classes(probabilities: Tensor, classes: Tensor | None) -> Tensor:
    """(b,) the class of interest of each item: the predicted one unless given; XalError where one does not exist."""
    if classes is None:
        return probabilities.argmax(dim=1)
    if classes.shape != probabilities.shape[:1]:
        raise XalError(f"expected {len(probabilities)} classes, one an item, got shape {tuple(classes.shape)}")
    outside = int(((classes < 0) | (classes >= probabilities.shape[1])).sum())
    if outside:
        raise XalError(f"expected classes 0..{probabilities.shape[1] - 1}, got {outside} outside; check the labels")
    return classes.to(probabilities.device).long()


def outputs_function(network: Any, output: Output) -> Callable[[Payload], Tensor]:
    """Payload -> (b, c): probabilities, or margins (logits) where the network has them."""

    @torch.no_grad()
    def answer(payload: Payload) -> Tensor:
        return torch.as_tensor(
            network.probabilities(payload) if output == "probability" else network.outputs(payload, output)
        )

    return answer
