"""A model of tables: the class whose mean is nearest, in columns of variance 1.

    p(y = k | x) = softmax_k(-|x / s - mean_k / s|^2 / (2 temperature)),    s the standard deviation of each column

In a recipe:   model: {name: "nearest_centroid:NearestCentroid", temperature: 10}
From Python:   xal.Learner(X, model=NearestCentroid())
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

import xal
from xal.models.model import Placement, Weights
from xal.models.training_data import Fitted, TrainContext, TrainingData
from xal.types import Kind


@dataclass(frozen=True, kw_only=True)
class NearestCentroid(xal.Model):
    """Softmax of the squared distances to the class means."""

    needs_validation: ClassVar[bool] = False  # there are no epochs to choose from
    distributed: ClassVar[bool] = False  # one process trains it

    temperature: float = 1.0
    """Larger: probabilities closer to even."""

    @property
    def kind(self) -> Kind:
        """What its pools hold."""
        return "features"

    def fit(self, data: TrainingData, context: TrainContext) -> Fitted:
        """The weighted mean of each class (of all items where a class has none yet), and each column's deviation."""
        weight = np.ones(len(data)) if data.sample_weight is None else data.sample_weight
        one_hot = np.eye(data.n_classes)[data.labels] * weight[:, None]  # (n, c)
        total = one_hot.sum(axis=0)[:, None]
        sums = one_hot.T @ data.inputs
        means = np.where(total > 0, sums / np.maximum(total, 1e-12), data.inputs.mean(axis=0))
        deviation = data.inputs.std(axis=0)
        scale = np.where(deviation > 0, deviation, 1)
        return Fitted(arrays={"means": means.astype(np.float32), "scale": scale.astype(np.float32)}, metrics={})

    def classifier(self, weights: Weights, placement: Placement | None = None) -> Any:
        """Ready to predict."""
        means, scale = (torch.as_tensor(weights.arrays[name]) for name in ("means", "scale"))
        return CentroidClassifier(means, scale, self.temperature)


class CentroidClassifier:
    """What explainers and engines see: a `xal.Classifier`."""

    kind = "features"
    provides: frozenset[str] = frozenset()
    device = torch.device("cpu")

    def __init__(self, means: Tensor, scale: Tensor, temperature: float) -> None:
        self.means, self.scale, self.temperature = means / scale, scale, temperature

    def outputs(self, inputs: Tensor, output: str) -> Tensor:
        """(b, c) probabilities, or margins."""
        margins = -torch.cdist(inputs.float() / self.scale, self.means).square() / (2 * self.temperature)
        return torch.softmax(margins, dim=1) if output == "probability" else margins

    def probabilities(self, inputs: Tensor) -> Tensor:
        """(b, c), rows sum to 1."""
        return self.outputs(inputs, "probability")

    def embed(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """(probabilities, embeddings): here the scaled features."""
        return self.probabilities(inputs), inputs.float() / self.scale
