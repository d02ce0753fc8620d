"""The family of explainers: which parts of an item speak for a class, and how strongly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from xal.core import hashed_words
from xal.core._typing import Float, Integer
from xal.core.registry import Component
from xal.errors import NumericalError, XalError
from xal.types import Explanations, Floats, Matrix, Output

Inputs = Any
"""Images (b, c, h, w) uint8 or float 0-255, or features (b, d), on the network's device; or texts (b,) str."""
COMPLETE = 1e-4
"""Of the largest output: what a complete explanation may miss, in float32."""


@runtime_checkable
class ConvClassifier(Protocol):
    """What EBAnO needs of a classifier of images."""

    @property
    def module(self) -> nn.Module:
        """The module whose layers `conv_layers` names; in evaluation mode, which is the caller's matter."""
        ...

    def probabilities(self, inputs: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b c"]:
        """Softmax probabilities (rows sum to 1) of float images 0-255, in one forward of `module`."""
        ...

    def conv_layers(self) -> Sequence[str]:
        """Names of the convolutional layers within `module`, in the order of the forward."""
        ...


class Explainer(Component, ABC, family="explainer"):
    """Base of the explainers. Deterministic: the same item, network and configuration give the same result."""

    kinds: ClassVar[frozenset[str]] = frozenset({"image"})
    """Which pools it explains: image, text, features."""
    requires: ClassVar[frozenset[str]] = frozenset()
    """What it needs of a model besides answers: gradients, or a linear margin."""
    space: ClassVar[Literal["shared", "per_item", "ebano"]] = "shared"
    """Whether all items have the same features, or each has its own; ebano: its own, with nPIR and nPIRP."""
    tolerance: ClassVar[float | None] = None
    """What base + attributions may miss of the output, of its largest value, in float32; None: they need not sum."""

    def unfit(self, kind: str) -> str | None:
        """Why it does not explain pools of that kind; None: it does."""
        return None if kind in self.kinds else f"explains {', '.join(sorted(self.kinds))}, the pool holds {kind}"

    def sigma(self, height: int, width: int) -> float | None:
        """The blur, in pixels, with which it masks features of images of that size; None: it does not blur."""
        return None

    @property
    def n_baselines(self) -> int:
        """How many labelled items it takes as `baselines`; 0: none."""
        return 0

    @abstractmethod
    def explain(
        self,
        classifier: Any,
        inputs: Inputs,
        target: Integer[Tensor, " b"] | None = None,
        baselines: Tensor | None = None,
    ) -> Explanations:
        """Explain the classifier's output for each item.

        classifier: a `xal.models.model.Classifier`. target: (b,) the class of interest of each item; None: the
        predicted one. baselines: (m, ...) labelled items that stand for what is masked, where `n_baselines` asks for
        them. Raises XalError for a target outside the classes and for missing baselines, NumericalError where the
        classifier's outputs are not finite.
        """

    def explain_all(
        self, classifier: Any, inputs: Inputs, n_classes: int, baselines: Tensor | None = None
    ) -> tuple[Explanations, ...]:
        """The explanations of every class 0..n_classes-1."""
        return tuple(
            self.explain(classifier, inputs, torch.full((len(inputs),), number, dtype=torch.int64), baselines)
            for number in range(n_classes)
        )

    def to_interpretable(self, inputs: Inputs) -> Matrix:
        """(b, f) x', items in the explanation space; asks no model. By default words, numbers, or grey pixels 0-1."""
        if not isinstance(inputs, Tensor):
            return hashed_words.presence(inputs)
        if inputs.ndim == 2:
            return inputs.double().cpu().numpy()
        return inputs.double().mean(dim=1).flatten(1).cpu().numpy() / 255

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
    if not explanations.per_item:
        return explanations.attributions
    k = explanations.segments.max(axis=(1, 2)) + 1
    return np.where(np.arange(explanations.attributions.shape[1]) < k[:, None], explanations.attributions, 0.0)


def _numbers(values: Matrix) -> Floats:
    """Of a matrix that may be sparse."""
    return np.asarray(values if isinstance(values, np.ndarray) else values.data)


def explained_classes(probabilities: Tensor, target: Tensor | None) -> Tensor:
    """(b,) the class of interest of each item: the predicted one unless given; XalError where one does not exist."""
    if target is None:
        return probabilities.argmax(dim=1)
    if target.shape != probabilities.shape[:1]:
        raise XalError(f"expected {len(probabilities)} classes, one an item, got shape {tuple(target.shape)}")
    outside = int(((target < 0) | (target >= probabilities.shape[1])).sum())
    if outside:
        raise XalError(f"expected classes 0..{probabilities.shape[1] - 1}, got {outside} outside; check the labels")
    return target.to(probabilities.device).long()


def outputs_function(classifier: Any, output: Output) -> Callable[[Inputs], Tensor]:
    """Payload -> (b, c): probabilities, or margins (logits) where the network has them."""

    @torch.no_grad()
    def answer(inputs: Inputs) -> Tensor:
        return torch.as_tensor(
            classifier.probabilities(inputs) if output == "probability" else classifier.outputs(inputs, output)
        )

    return answer


def check_provided(explainer: str, classifier: Any, requirement: str) -> None:
    """Raise XalError where the classifier does not provide what the explainer requires."""
    if requirement not in classifier.provides:
        raise XalError(
            f"explainer '{explainer}' needs {requirement.replace('_', ' ')}, and this model has no "
            f"{requirement.replace('_', ' ')}; shap_partition and lime explain any model"
        )


def needed_baselines(baselines: Any, n: int = 0) -> Tensor:
    """The first n labelled items (all where n is 0) that stand for what is masked; XalError where there are none."""
    if baselines is None or not len(baselines):
        raise XalError("this explainer replaces what is masked by labelled items, and was given none: label some first")
    return torch.as_tensor(baselines)[: n or None]
