"""Base class of the explainers, which attribute a classifier's output for an item to the item's features."""

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
"""Images (b, c, h, w), uint8 or float 0-255, or features (b, d), both on the network's device; or texts (b,) str."""
COMPLETE = 1e-4
"""Default tolerance of completeness in float32, relative to the largest output."""


@runtime_checkable
class ConvClassifier(Protocol):
    """An image classifier that EBAnO can explain."""

    @property
    def module(self) -> nn.Module:
        """The module that contains `conv_layers`. The caller puts it in evaluation mode."""
        ...

    def probabilities(self, inputs: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b c"]:
        """Softmax probabilities (rows sum to 1) of float images 0-255, from one forward pass of `module`."""
        ...

    def conv_layers(self) -> Sequence[str]:
        """Names of the convolutional layers of `module`, in the order of the forward pass."""
        ...


class Explainer(Component, ABC, family="explainer"):
    """Base class. Explainers are deterministic: the same item, network and settings give the same explanation."""

    kinds: ClassVar[frozenset[str]] = frozenset({"image"})
    """The kinds of pools that it explains: image, text, features."""
    requires: ClassVar[frozenset[str]] = frozenset()
    """What the model must provide besides outputs: `gradients`, `linear`, `linear_head`, `conv_layers` or
    `self_explaining`."""
    space: ClassVar[Literal["shared", "per_item", "ebano"]] = "shared"
    """shared: all items have the same features; per_item: each has its own; ebano: per_item with nPIR and nPIRP."""
    of_embeddings: ClassVar[bool] = False
    """Whether it attributes the output to the components of an encoder's vectors, so that it can read kept ones."""
    tolerance: ClassVar[float | None] = None
    """How far base + attributions may be from the output, relative to the largest output; None: no such invariant."""

    def unfit(self, kind: str) -> str | None:
        """The reason why it cannot explain pools of that kind, or None if it can."""
        return None if kind in self.kinds else f"explains {', '.join(sorted(self.kinds))}, the pool holds {kind}"

    def sigma(self, height: int, width: int) -> float | None:
        """Sigma in pixels of the blur that masks features of images of that size; None: it does not blur."""
        return None

    @property
    def n_baselines(self) -> int:
        """Number of labelled items that it takes as `baselines`."""
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

        classifier: a `xal.models.model.Classifier`. target: (b,) the class to explain for each item; None: the
        predicted class. baselines: (m, ...) labelled items that replace masked features, required if `n_baselines`
        is above 0. Raises XalError for a target outside the classes and for missing baselines, NumericalError if
        the classifier's outputs are not finite.
        """

    def explain_all(
        self, classifier: Any, inputs: Inputs, n_classes: int, baselines: Tensor | None = None
    ) -> tuple[Explanations, ...]:
        """Explain the outputs of all classes 0..n_classes-1, one `Explanations` each."""
        return tuple(
            self.explain(classifier, inputs, torch.full((len(inputs),), number, dtype=torch.int64), baselines)
            for number in range(n_classes)
        )

    def to_interpretable(self, inputs: Inputs) -> Matrix:
        """(b, f) x', the items in the explanation space, without a model. Default: words, numbers, grey pixels 0-1."""
        if not isinstance(inputs, Tensor):
            return hashed_words.presence(inputs)
        if inputs.ndim == 2:
            return inputs.double().cpu().numpy()
        return inputs.double().mean(dim=1).flatten(1).cpu().numpy() / 255

    def check(self, explanations: Explanations) -> None:
        """Raise NumericalError unless the explainer's invariant holds for every explanation.

        The invariant is completeness if the explainer has a `tolerance`, otherwise finite attributions.
        """
        if self.tolerance is not None:
            check_complete(explanations, self.tolerance)
        elif not np.isfinite(_stored(_zero_padded(explanations))).all():
            raise NumericalError("some attributions are not finite; check the model's weights")


def check_complete(explanations: Explanations, tolerance: float = COMPLETE) -> None:
    """Raise NumericalError unless base + attributions sum to the output, within `tolerance` of the largest output."""
    if explanations.base is None or explanations.output is None:
        raise NumericalError(
            "expected explanations with base and output, got none; this explainer's cannot be checked for completeness"
        )
    values = _zero_padded(explanations)
    error = np.abs(explanations.base + np.asarray(values.sum(axis=1)).ravel() - explanations.output)
    scale = max(1.0, *(float(np.abs(array).max(initial=0)) for array in (explanations.output, _stored(values))))
    wrong = ~(error <= tolerance * scale)
    if wrong.any():
        raise NumericalError(
            f"{int(wrong.sum())} of {len(explanations)} explanations are not complete: base + attributions differs "
            f"from the output by up to {error.max():.3g}; raise the explainer's evaluations or steps, or check the "
            "model"
        )


def _zero_padded(explanations: Explanations) -> Matrix:
    """(b, f) attributions with 0 in place of the NaN that pads items with fewer features."""
    if not explanations.per_item:
        return explanations.attributions
    n_features = explanations.segments.max(axis=(1, 2)) + 1
    return np.where(np.arange(explanations.attributions.shape[1]) < n_features[:, None], explanations.attributions, 0.0)


def _stored(values: Matrix) -> Floats:
    """The stored values of a dense or sparse matrix."""
    return np.asarray(values if isinstance(values, np.ndarray) else values.data)


def explained_classes(probabilities: Tensor, target: Tensor | None) -> Tensor:
    """(b,) the class to explain for each item: `target` or the predicted class; XalError for a class out of range."""
    if target is None:
        return probabilities.argmax(dim=1)
    if target.shape != probabilities.shape[:1]:
        raise XalError(f"expected {len(probabilities)} targets, one per item, got shape {tuple(target.shape)}")
    outside = int(((target < 0) | (target >= probabilities.shape[1])).sum())
    if outside:
        raise XalError(f"expected classes 0..{probabilities.shape[1] - 1}, got {outside} outside; check the labels")
    return target.to(probabilities.device).long()


def outputs_function(classifier: Any, output: Output) -> Callable[[Inputs], Tensor]:
    """The function inputs -> (b, c) outputs without gradients: probabilities, or margins (logits)."""

    @torch.no_grad()
    def outputs_of(inputs: Inputs) -> Tensor:
        return torch.as_tensor(
            classifier.probabilities(inputs) if output == "probability" else classifier.outputs(inputs, output)
        )

    return outputs_of


def check_provided(explainer: str, classifier: Any, requirement: str) -> None:
    """Raise XalError if the classifier does not provide what the explainer requires."""
    if requirement not in classifier.provides:
        raise XalError(
            f"explainer '{explainer}' needs {requirement.replace('_', ' ')}, and this model has no "
            f"{requirement.replace('_', ' ')}; shap_partition and lime explain any model"
        )


def needed_baselines(baselines: Any, n: int = 0) -> Tensor:
    """The first n labelled items (0: all), which replace masked features; XalError if there are none."""
    if baselines is None or not len(baselines):
        raise XalError("expected labelled items, whose features replace masked ones, got none; label some first")
    return torch.as_tensor(baselines)[: n or None]
