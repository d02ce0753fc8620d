"""A trained scikit-learn model, ready to predict: its arrays alone, without scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from scipy import sparse, special
from torch import Tensor

from xal.encoders import Texts
from xal.encoders.encoder import Encoding, Masks, State
from xal.types import Kind, Matrix, Outputs, Rows

EMBEDDED = 1024  # columns of an embedding, at most


@lru_cache(maxsize=2)
def _projection(words: int) -> Matrix:
    """(words, EMBEDDED) sparse."""
    from sklearn.random_projection import SparseRandomProjection

    fitted = SparseRandomProjection(EMBEDDED, random_state=0).fit(sparse.csr_array((1, words)))
    return sparse.csr_array(fitted.components_.T)


class Head(Protocol):
    """What a classifier needs of its model; see `SklearnModel`."""

    @property
    def kind(self) -> Kind:
        """What its pools hold."""
        ...

    @property
    def provides(self) -> frozenset[str]:
        """What it offers to explainers."""
        ...

    def encoding(self, state: State) -> Encoding:
        """Its encoder with what it has learned."""
        ...

    def outputs(self, vectors: Matrix, state: State) -> Outputs:
        """(b, c) before calibration."""
        ...

    def linear(self, state: State) -> tuple[Outputs, Outputs] | None:
        """((c, d) weights, (c,) intercepts); None: not linear."""
        ...


def dense_embedding(vectors: Matrix) -> Tensor:
    """(b, d) float64; sparse vectors of over EMBEDDED columns are projected to as many."""
    if isinstance(vectors, np.ndarray):
        return torch.from_numpy(np.asarray(vectors, np.float64))
    short = vectors if vectors.shape[1] <= EMBEDDED else vectors @ _projection(vectors.shape[1])
    return torch.from_numpy(np.asarray(short.toarray(), np.float64))


class SklearnClassifier:
    """A trained model, always on the CPU. Explainers ask it about texts of which only some words are left."""

    device = torch.device("cpu")

    def __init__(self, model: Head, state: State, classes: int) -> None:
        self.model, self.state, self.classes = model, state, classes
        self.kind, self.provides = model.kind, model.provides
        self._encoding = model.encoding(state)
        self._present = state["classes"]
        self._head = {name.removeprefix("head."): value for name, value in state.items() if name.startswith("head.")}

    def probabilities(self, inputs: Any) -> Tensor:
        """(b, c) float64, rows sum to 1; 0 for classes of which no item was labelled."""
        return torch.from_numpy(self._answer(self._encoding.encode(inputs), "probability"))

    def outputs(self, inputs: Any, output: str) -> Outputs:
        """(b, c) probabilities, or the margins before calibration; 0 for classes of which no item was labelled."""
        return self._answer(self._encoding.encode(inputs), output)

    def embed(self, inputs: Any) -> tuple[Tensor, Tensor]:
        """((b, c) probabilities, (b, d) the encoder's vectors; bags of over EMBEDDED words are projected to as many).

        The projection is random, always the same, and keeps distances within some percent (P. Li, T. Hastie and K.
        Church 2006): strategies want dense vectors, and those of bags would fill the memory.
        """
        vectors = self._encoding.encode(inputs)
        return torch.from_numpy(self._answer(vectors, "probability")), dense_embedding(vectors)

    def masked_outputs(self, texts: Texts, output: str) -> Callable[[Rows, Masks], Outputs]:
        """Answers for texts of which only some words are left: (items (n,), masks (n, m)) -> (n, c)."""
        encode = self._encoding.coalitions(texts)
        return lambda items, masks: self._answer(encode(items, masks), output)

    def linear(self) -> tuple[Outputs, Outputs, Encoding] | None:
        """((c, d) weights, (c,) intercepts, encoding) of the margins; None where they are not linear."""
        found = self.model.linear(self._head)
        if found is None:
            return None
        weights, intercepts = found
        whole = np.zeros((self.classes, weights.shape[1])), np.zeros(self.classes)
        whole[0][self._present], whole[1][self._present] = weights, intercepts
        return *whole, self._encoding

    def _answer(self, vectors: Matrix, output: str) -> Outputs:
        answers = self.model.outputs(vectors, self._head)
        if output == "probability":
            answers = self._calibrated(answers)
        if len(self._present) == self.classes:
            return answers
        whole = np.zeros((len(answers), self.classes))
        whole[:, self._present] = answers
        return whole

    def _calibrated(self, outputs: Outputs) -> Outputs:
        if "platt.a" not in self.state:
            scale = 0.5 if outputs.shape[1] == 2 else 1.0  # of two classes they are (-z, z)
            return np.asarray(special.softmax(scale * outputs, axis=1))
        a, b = self.state["platt.a"], self.state["platt.b"]
        if len(a) == 1:
            second = special.expit(-(a * outputs[:, 1:] + b))
            return np.concatenate([1 - second, second], axis=1)
        each = special.expit(-(a * outputs + b))
        total = each.sum(axis=1, keepdims=True)
        return np.asarray(np.where(total > 0, each / np.where(total > 0, total, 1), 1 / each.shape[1]))
