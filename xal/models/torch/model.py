"""Base of the torch models. Your own model only needs `build`:

@dataclass(frozen=True, kw_only=True)
class Mine(TorchModel):
    width: int = 8

    def build(self, shape, n_classes):
        ...return a torch.nn.Module: float images (b, c, h, w) -> logits (b, n_classes)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from xal.core._typing import Field
from xal.models.model import Model, Placement, Weights
from xal.models.torch.classifier import TorchClassifier
from xal.models.torch.training import Examples, evaluate_hits, fit
from xal.models.training_data import Fitted, TrainContext, TrainingData
from xal.types import Shape

SCALING = ("columns.mean", "columns.scale")
"""Arrays beside the weights of a model of tables, by which it scales its inputs."""


class Standardized:
    """A model that also scales the columns of tables before its own preprocessing."""

    def __init__(self, model: TorchModel, scaling: Mapping[str, npt.NDArray[Any]]) -> None:
        self._model = model
        self._mean, self._scale = (torch.from_numpy(np.array(scaling[name])) for name in SCALING)
        self.kind, self.provides, self.regularizer = model.kind, model.provides, model.regularizer

    def preprocess(self, inputs: Tensor) -> Tensor:
        """(b, d) features, scaled, then preprocessed by the model."""
        mean, scale = self._mean.to(inputs.device), self._scale.to(inputs.device)
        return self._model.preprocess((inputs - mean) / scale)


def _state(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Tensor]:
    """The module's own arrays, as tensors."""
    return {name: torch.from_numpy(array) for name, array in arrays.items() if name not in SCALING}


@dataclass(frozen=True, kw_only=True)
class TorchModel(Model):
    """Base of the torch models."""

    streams: ClassVar[bool] = True

    size: Annotated[int, Field(ge=8)] | None = None
    """Images are resized to size x size pixels; null: to the size most images of the pool
    have, at most 256 pixels on the longer side."""
    channels: Literal[1, 3] | None = None
    """1 for grey, 3 for RGB; null: 3 if the pool has a colour image, else 1."""
    standardize: bool = True
    """Tables: scale every column to mean 0 and variance 1 over the labelled items. No effect on images."""

    @property
    def provides(self) -> frozenset[str]:
        """`gradients`, `gradient_descent`, what the last linear layer gives and, for images, `conv_layers`."""
        learnt = {"gradients", "gradient_descent", "contrastive", "sampled_probabilities"}
        return frozenset(learnt | {"conv_layers"} if self.kind == "image" else learnt)

    @property
    def fixed_shape(self) -> Shape | None:
        """(c, h, w) if `size` and `channels` are set, else None."""
        return (self.channels, self.size, self.size) if self.kind == "image" and self.size and self.channels else None

    def input_shape(self, pool: Shape) -> Shape:
        """(c, h, w) of images, (d,) of features."""
        if self.kind != "image":
            return pool
        height, width = (self.size, self.size) if self.size else pool[1:]
        return (self.channels or pool[0], height, width)

    @abstractmethod
    def build(self, shape: Shape, n_classes: int) -> nn.Module:
        """A new module: preprocessed inputs (b, *shape) -> logits (b, n_classes)."""

    def preprocess(self, inputs: Tensor) -> Tensor:
        """Images (b, c, h, w), 0-255, uint8 or float -> [0, 1]; features (b, d) as float32."""
        inputs = inputs.to(torch.float32)
        return inputs / 255 if self.kind == "image" else inputs

    def regularizer(self, module: Any, inputs: Tensor, labels: Tensor) -> Tensor | None:
        """An additional term of the training loss; None: the model has none."""
        return None

    def untrained(self) -> TorchModel:
        """The same model without pretrained weights, for callers that load other weights anyway."""
        return self

    def create(self, shape: Shape, n_classes: int, seed: int) -> nn.Module:
        """`build` with random weights drawn from `seed`; the state of the global generator does not change."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self.build(shape, n_classes)

    def missing_for(self, requirement: str, shape: Shape, n_classes: int) -> str | None:
        """Checks that the built module has a convolution, or a last linear layer with an output for each class."""
        if requirement not in ("conv_layers", "contrastive", "sampled_probabilities"):
            return None
        module = self.untrained().create(shape, n_classes, seed=0)
        if requirement != "conv_layers":
            linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
            if linear and (requirement == "sampled_probabilities" or linear[-1].out_features == n_classes):
                return None
            return f"model '{self.name}' does not end with a linear layer"
        has_convolution = any(isinstance(layer, nn.Conv2d) for layer in module.modules())
        return None if has_convolution else f"model '{self.name}' has no convolutions"

    def fit(self, data: TrainingData, context: TrainContext) -> Fitted:
        """Minimise the cross-entropy (nats) by gradient descent; see `training`."""
        model = self if context.start is None else self.untrained()
        module = model.create(data.shape, data.n_classes, context.seed)
        scaling = self._scaling(data, context)
        if context.start is not None:
            module.load_state_dict(_state(context.start))
        examples = Examples.of(data)
        validation = Examples.of(data.validation) if data.validation is not None else examples.take(slice(0))
        scaled = Standardized(self, scaling) if scaling else self
        result = fit(
            scaled,
            module.to(context.device),
            examples,
            validation,
            context.settings,
            seed=context.seed,
            finetune=context.start is not None,
            head_only=context.head_only,
            rank=context.rank,
            workers=context.workers,
            wrap=context.wrap,
            progress=context.progress,
            correction_loss=context.correction_loss,
        )
        module.load_state_dict(result.state)
        n_correct = evaluate_hits(scaled, module, examples, data.n_labelled)
        return Fitted(
            arrays={name: tensor.numpy() for name, tensor in result.state.items()} | scaling,
            metrics={
                "train_items": data.n_labelled,
                "synthetic_items": len(data) - data.n_labelled,
                "train_accuracy": n_correct / max(data.n_labelled, 1),
                "validation_items": len(validation),
                "epochs": len(result.train_loss),
                "best_epoch": result.best_epoch,
                "train_loss": result.train_loss[-1],
                "validation_loss": min(result.validation_loss) if result.validation_loss else None,
                "decays": result.decays,
            },
        )

    def _scaling(self, data: TrainingData, context: TrainContext) -> dict[str, npt.NDArray[np.float32]]:
        """{name: (d,)} mean and scale of the columns; those of the weights to start from; {}: not scaled."""
        if context.start is not None:
            return {name: context.start[name] for name in SCALING if name in context.start}
        if self.kind != "features" or not self.standardize:
            return {}
        values = np.asarray(data.inputs[: data.n_labelled], np.float64)
        spread = values.std(axis=0)
        arrays = (values.mean(axis=0), np.where(spread > 0, spread, 1.0))
        return {name: array.astype(np.float32) for name, array in zip(SCALING, arrays, strict=True)}

    def classifier(self, weights: Weights, placement: Placement | None = None) -> TorchClassifier:
        """The module with its weights, in evaluation mode."""
        placement = placement or Placement()
        module = self.untrained().create(weights.shape, weights.n_classes, seed=0)
        module.load_state_dict(_state(weights.arrays))
        scaling = {name: weights.arrays[name] for name in SCALING if name in weights.arrays}
        model = Standardized(self, scaling) if scaling else self
        return TorchClassifier(
            model, module, placement.device, precision=placement.precision, compiled=placement.compiled
        )
