"""A trained scikit-learn model, ready to predict from its stored arrays alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse, special
from torch import Tensor

from xal.core.projection import narrowed
from xal.encoders import Texts
from xal.encoders.encoder import Encoding, Kept, Masks, State
from xal.errors import XalError
from xal.types import Kind, Matrix, Outputs, Rows


class Head(Protocol):
    """What a classifier needs from its model; see `SklearnModel`."""

    @property
    def kind(self) -> Kind:
        """Kind of item that the model takes."""
        ...

    @property
    def provides(self) -> frozenset[str]:
        """Capabilities besides predictions; see `Classifier`."""
        ...

    def encoding(self, state: State) -> Encoding:
        """The encoder with its fitted state."""
        ...

    def outputs(self, vectors: Matrix, state: State) -> Outputs:
        """(b, c) outputs before calibration."""
        ...

    def sampled(self, vectors: Matrix, state: State) -> Iterator[Outputs]:
        """Outputs (b, c) of one draw after the other."""
        ...

    def linear(self, state: State) -> tuple[Outputs, Outputs] | None:
        """((c, d) weights, (c,) intercepts); None if the outputs are not linear."""
        ...


class SklearnClassifier:
    """A trained scikit-learn model on the CPU; explainers of texts use `masked_outputs`."""

    def __init__(self, model: Head, state: State, classes: int, device: str = "cpu") -> None:
        self.model, self.state, self.classes = model, state, classes
        self.kind, self.provides = model.kind, model.provides
        self._device = device
        self._trained_classes = state["classes"]
        self._head = {name.removeprefix("head."): value for name, value in state.items() if name.startswith("head.")}

    @cached_property
    def _encoding(self) -> Encoding:
        """The encoder, loaded when the first item needs it: kept vectors do not."""
        return self.model.encoding(self.state).to(self._device)

    @property
    def device(self) -> torch.device:
        """Where inputs should be: that of the encoder."""
        return self._encoding.device

    @property
    def module(self) -> Any:
        """The frozen network of an encoder of images, for explainers that read its convolutions."""
        return self._encoding.module  # type: ignore[attr-defined]

    def conv_layers(self) -> Sequence[str]:
        """Names of the convolutional layers within `module`, in the order they are defined."""
        return [name for name, layer in self.module.named_modules() if isinstance(layer, torch.nn.Conv2d)]

    @property
    def centre(self) -> npt.NDArray[np.float64]:
        """(d,) mean of the labelled items' vectors, for encoders whose vectors are kept."""
        return np.asarray(self.state["centre"])

    @cached_property
    def head(self) -> SklearnClassifier:
        """The classifier of vectors that the encoder computed before; on the CPU."""
        head = SklearnClassifier(self.model, self.state, self.classes)
        head.__dict__["_encoding"] = Kept()
        return head

    def probabilities(self, inputs: Any) -> Tensor:
        """(b, c) float64, rows sum to 1; 0 for classes without labelled items."""
        return torch.from_numpy(self._outputs(self._encoding.vectors(inputs), "probability"))

    def outputs(self, inputs: Any, output: str) -> Any:
        """(b, c) probabilities, or margins before calibration; 0 for classes without labelled items.

        An array; a tensor with gradients for images that require them, through an encoder that has them.
        """
        if isinstance(inputs, Tensor) and inputs.requires_grad and "gradients" in self.provides:
            return self._differentiable(inputs, output)
        outputs = self._outputs(self._encoding.vectors(inputs), output)
        return torch.from_numpy(outputs) if isinstance(inputs, Tensor) and "gradients" in self.provides else outputs

    def _differentiable(self, images: Tensor, output: str) -> Tensor:
        vectors = self._encoding.tensors(images).double()  # type: ignore[attr-defined]
        weights, intercepts = (torch.from_numpy(part).to(vectors) for part in self.model.linear(self._head) or ())
        outputs = vectors @ weights.T + intercepts
        if output == "probability":
            outputs = self._differentiable_probabilities(outputs)
        padded = outputs.new_zeros((len(outputs), self.classes))
        columns = torch.from_numpy(self._trained_classes).to(outputs.device)
        filled: Tensor = padded.index_copy(1, columns, outputs)
        return filled

    def _differentiable_probabilities(self, outputs: Tensor) -> Tensor:
        """As `_calibrated`."""
        if "platt.a" not in self.state:
            return torch.softmax((0.5 if outputs.shape[1] == 2 else 1.0) * outputs, dim=1)
        a, b = (torch.from_numpy(self.state[f"platt.{name}"]).to(outputs) for name in "ab")
        if len(a) == 1:
            second = torch.sigmoid(-(a * outputs[:, 1:] + b))
            return torch.cat([1 - second, second], dim=1)
        sigmoids = torch.sigmoid(-(a * outputs + b))
        probabilities: Tensor = sigmoids / sigmoids.sum(dim=1, keepdim=True)
        return probabilities

    def embed(self, inputs: Any) -> tuple[Tensor, Tensor]:
        """((b, c) probabilities, (b, d) vectors of the encoder, projected if they are bags of many words).

        Strategies need dense vectors, and dense bags of words would fill the memory.
        """
        return self._embedded(self._encoding.vectors(inputs))

    def _embedded(self, vectors: Matrix) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self._outputs(vectors, "probability")), torch.from_numpy(narrowed(vectors))

    def contrast(self, inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        """(probabilities, embeddings, (w_first - w_second) * (x - mean)), w the weights of a linear head.

        The mean is that of the labelled items, where it is kept and x dense, else 0.
        """
        vectors = self._encoding.vectors(inputs)
        probabilities, embeddings = self._embedded(vectors)
        linear = self.linear()
        if linear is None:
            raise XalError("contrastive explanations need a linear head: logistic_regression or linear_svm")
        first, second = probabilities.topk(2, dim=1).indices.T.numpy()
        difference = linear[0][first] - linear[0][second]
        if not isinstance(vectors, np.ndarray):
            return probabilities, embeddings, torch.from_numpy(narrowed(sparse.csr_array(vectors.multiply(difference))))
        centre = self.state.get("centre", 0.0)
        return probabilities, embeddings, torch.from_numpy(np.asarray(difference * (vectors - centre), np.float32))

    def sampled_probabilities(self, inputs: Any) -> Tensor:
        """(b, t, c) of an ensemble's members, or with 3/4 of the vectors' columns dropped."""
        vectors = self._encoding.vectors(inputs)
        drawn = [self._padded(self._calibrated(each)) for each in self.model.sampled(vectors, self._head)]
        return torch.from_numpy(np.stack(drawn, axis=1))

    def masked_outputs(self, texts: Texts, output: str) -> Callable[[Rows, Masks], Outputs]:
        """A function (items (n,), masks (n, m)) -> (n, c) outputs of texts with only the words that the masks keep."""
        encode = self._encoding.coalitions(texts)
        return lambda items, masks: self._outputs(encode(items, masks), output)

    def linear(self) -> tuple[Outputs, Outputs, Encoding] | None:
        """((c, d) weights, (c,) intercepts, encoding) of the margins; None if they are not linear."""
        coefficients = self.model.linear(self._head)
        if coefficients is None:
            return None
        weights = np.zeros((self.classes, coefficients[0].shape[1]))
        intercepts = np.zeros(self.classes)
        weights[self._trained_classes], intercepts[self._trained_classes] = coefficients
        return weights, intercepts, self._encoding

    def _outputs(self, vectors: Matrix, output: str) -> Outputs:
        outputs = self.model.outputs(vectors, self._head)
        return self._padded(self._calibrated(outputs) if output == "probability" else outputs)

    def _padded(self, outputs: Outputs) -> Outputs:
        """(b, classes), 0 for classes without labelled items."""
        if len(self._trained_classes) == self.classes:
            return outputs
        padded = np.zeros((len(outputs), self.classes))
        padded[:, self._trained_classes] = outputs
        return padded

    def _calibrated(self, outputs: Outputs) -> Outputs:
        if "platt.a" not in self.state:
            scale = 0.5 if outputs.shape[1] == 2 else 1.0  # for two classes, outputs are (-z, z)
            return np.asarray(special.softmax(scale * outputs, axis=1))
        a, b = self.state["platt.a"], self.state["platt.b"]
        if len(a) == 1:
            second = special.expit(-(a * outputs[:, 1:] + b))
            return np.concatenate([1 - second, second], axis=1)
        sigmoids = special.expit(-(a * outputs + b))
        total = sigmoids.sum(axis=1, keepdims=True)
        return np.asarray(np.where(total > 0, sigmoids / np.where(total > 0, total, 1), 1 / sigmoids.shape[1]))
