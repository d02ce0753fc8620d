"""The family of models, and what a trained one offers: one protocol for torch, scikit-learn and whatever comes.

A model is a configuration. `fit` turns training data into weights, plain arrays that are stored without pickles;
`classifier` turns weights into something that predicts. A user's model derives from `Model` (or from `TorchModel`,
which needs `build` alone, or `SklearnModel`), and is named `module:Class` in the recipe.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy.typing as npt

from xal.core.registry import Component
from xal.models.training_data import Fitted, TrainContext, TrainingData
from xal.types import Kind, Output, Shape

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Weights:
    """What training left, and what it was trained for."""

    arrays: Mapping[str, npt.NDArray[Any]]
    shape: Shape
    """Of an item: (c, h, w) of images, (d,) of features, () of texts."""
    n_classes: int


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where and how a classifier computes."""

    device: str = "cpu"
    precision: Precision = "float32"
    """bfloat16 computes under autocast, faster where the hardware has it, and coarser."""
    compiled: bool = False
    """Forwards by torch.compile."""


@runtime_checkable
class Classifier(Protocol):
    """A trained model, ready to predict: all that explainers and engines see of it.

    Inputs are images (b, c, h, w), uint8 or float 0-255, or features (b, d), as tensors on `device`; or texts, a
    sequence of str. What a classifier offers besides is named in `provides`:

    - gradients: `logits(inputs)` can be differentiated
    - conv_layers: `module`, and `conv_layers()`, the names of its convolutions in the order of the forward
    - linear: `linear()`, the weights of a margin that is linear in words or columns
    - self_explaining: `self_explanation(inputs)`, weights that explain the logits exactly
    - concepts: those weights are of concepts of the model's own, not of parts of the item

    Classifiers of texts have `masked_outputs(texts, output)`: answers for texts of which only some words are left.
    """

    kind: Kind
    provides: frozenset[str]
    device: Any

    def probabilities(self, inputs: Any) -> Any:
        """(b, c) tensor, rows sum to 1."""
        ...

    def outputs(self, inputs: Any, output: Output) -> Any:
        """(b, c) what an explainer explains: probabilities, or margins (logits)."""
        ...

    def embed(self, inputs: Any) -> tuple[Any, Any]:
        """((b, c) probabilities, (b, d) embeddings) in one forward."""
        ...


@dataclass(frozen=True, kw_only=True)
class Model(Component, ABC, family="model"):
    """Base of all models."""

    default_strategy: ClassVar[str] = "margin"
    """The strategy of a recipe that names none."""
    needs_validation: ClassVar[bool] = True
    """Whether a share of the labelled items is held out from training to choose by; a model that cross-validates
    needs none."""
    distributed: ClassVar[bool] = True
    """Whether several workers can train it together."""

    @property
    def kind(self) -> Kind:
        """What its pools hold."""
        return "image"

    @property
    def default_explainer(self) -> Any:
        """The explainer of a recipe that names none, as a recipe has it."""
        return "shap_partition"

    @property
    def provides(self) -> frozenset[str]:
        """What explainers and feedback may require besides predictions; see `Classifier`."""
        return frozenset()

    @property
    def fixed_shape(self) -> Shape | None:
        """The shape of its inputs where the configuration alone decides it; None: the pool does."""
        return None

    def input_shape(self, pool: Shape) -> Shape:
        """The shape of its inputs, given that of the pool's own items."""
        return pool

    @abstractmethod
    def fit(self, data: TrainingData, context: TrainContext) -> Fitted:
        """Train on labelled items; deterministic given `context.seed`.

        Raises XalError for data it cannot learn from, NumericalError where the loss is not finite.
        """

    @abstractmethod
    def classifier(self, weights: Weights, placement: Placement | None = None) -> Classifier:
        """The trained model, ready to predict."""

    def missing_for(self, requirement: str, shape: Shape, n_classes: int) -> str | None:
        """Why the built model does not meet a requirement that `provides` promises; None: it does."""
        return None
