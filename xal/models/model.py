"""Base class of models, and the protocol of trained classifiers, whether torch, scikit-learn or other.

A model is a configuration. `fit` turns training data into weights: plain arrays, stored without pickle. `classifier`
turns weights into something that predicts. To add a model, derive from `Model` (or from `TorchModel`, which only needs
`build`, or from `SklearnModel`) and name it `module:Class` in the recipe.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy.typing as npt

from xal.core.registry import Component
from xal.encoders import Encoder
from xal.models.training_data import Fitted, TrainContext, TrainingData
from xal.types import Kind, Output, Shape

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Weights:
    """Trained weights, with the input shape and number of classes that they were trained for."""

    arrays: Mapping[str, npt.NDArray[Any]]
    shape: Shape
    """Shape of an item: (c, h, w) of images, (d,) of features, () of texts."""
    n_classes: int


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Device, precision and compilation of a classifier."""

    device: str = "cpu"
    precision: Precision = "float32"
    """bfloat16 runs under autocast: faster where the hardware supports it, but less precise."""
    compiled: bool = False
    """Whether forward passes run through torch.compile."""


@runtime_checkable
class Classifier(Protocol):
    """A trained model, ready to predict: the interface that explainers and engines use.

    Inputs are images (b, c, h, w), uint8 or float 0-255, or features (b, d), as tensors on `device`; or texts, a
    sequence of str. `provides` lists what a classifier has besides predictions:

    - gradients: `outputs(inputs, output)` is a tensor that is differentiable by its inputs
    - gradient_descent: the model is trained by it, so that it can learn from a loss of corrections
    - conv_layers: `module` is the network, `conv_layers()` the names of its convolutions in the order of the forward
    - linear: `linear()` returns the weights of margins that are linear in words or columns
    - linear_head: it returns those of margins that are linear in an encoder's vectors; `centre` is their mean
    - self_explaining: `self_explanation(inputs)` returns weights that explain the logits exactly
    - contrastive: `contrast(inputs)` returns (probabilities, embeddings, (b, d) contribution of each dimension of the
      embedding to the margin between the two most likely classes)
    - sampled_probabilities: `sampled_probabilities(inputs)` returns those of an ensemble's members, or under draws of
      dropout, (b, t, c)
    - concepts: these weights belong to concepts of the model, not to parts of the item

    Classifiers of texts have `masked_outputs(texts, output)`: a function (items (n,), masks (n, m)) -> (n, c) outputs
    of the texts with only the words that the masks keep.
    """

    kind: Kind
    provides: frozenset[str]

    @property
    def device(self) -> Any:
        """Where inputs should be."""
        ...

    def probabilities(self, inputs: Any) -> Any:
        """(b, c) tensor of class probabilities; rows sum to 1."""
        ...

    def outputs(self, inputs: Any, output: Output) -> Any:
        """(b, c) outputs to explain: probabilities, or margins (logits)."""
        ...

    def embed(self, inputs: Any) -> tuple[Any, Any]:
        """((b, c) probabilities, (b, d) embeddings), computed in one forward pass."""
        ...

    @property
    def head(self) -> Any:
        """The classifier of vectors that an encoder computed before, in place of items; itself without an encoder."""
        ...


@dataclass(frozen=True, kw_only=True)
class Model(Component, ABC, family="model"):
    """Base of all models."""

    default_strategy: ClassVar[str] = "margin"
    """Strategy used if the recipe names none."""
    needs_validation: ClassVar[bool] = True
    """Whether training holds out a share of the labelled items for validation; models that cross-validate need none."""
    progress_unit: ClassVar[str] = "epochs"
    """What `TrainContext.progress` counts."""
    streams: ClassVar[bool] = False
    """Whether `fit` takes `StoredImages`: training images that are in a file because they do not fit into memory."""
    distributed: ClassVar[bool] = True
    """Whether several workers can train it together."""

    @property
    def kind(self) -> Kind:
        """Kind of item that the model takes."""
        return "image"

    @property
    def default_explainer(self) -> Any:
        """Explainer used if the recipe names none, in the form that a recipe gives it: a name or a mapping."""
        return "shap_partition"

    @property
    def provides(self) -> frozenset[str]:
        """Capabilities besides predictions that explainers and feedback may require; see `Classifier`."""
        return frozenset()

    @property
    def fixed_shape(self) -> Shape | None:
        """Shape of an input, if the configuration alone determines it; None: it depends on the pool."""
        return None

    @property
    def kept_encoder(self) -> Encoder | None:
        """The encoder whose vectors of a pool are computed once and kept; None: the model sees the items themselves."""
        return None

    @property
    def download(self) -> str | None:
        """What the model downloads when it is first built, its size and where it is kept; None: nothing."""
        return None

    def input_shape(self, pool: Shape) -> Shape:
        """Shape of an input, for a pool whose items have the shape `pool`."""
        return pool

    @abstractmethod
    def fit(self, data: TrainingData, context: TrainContext) -> Fitted:
        """Train on labelled items; deterministic for a given `context.seed`.

        Raises XalError for data that the model cannot learn from, NumericalError if the loss is not finite.
        """

    @abstractmethod
    def classifier(self, weights: Weights, placement: Placement | None = None) -> Classifier:
        """The trained model, ready to predict."""

    def missing_for(self, requirement: str, shape: Shape, n_classes: int) -> str | None:
        """Why a model built for this shape lacks `requirement` although `provides` lists it; None if it has it."""
        return None
