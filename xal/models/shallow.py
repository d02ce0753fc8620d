"""Classifiers of texts and tables: an encoder, a scikit-learn head, and one calibration for every arm.

A head is fitted for each value of its grid (Psi) by stratified cross-validation on macro F1, the first best is fitted
to all training items, and its outputs are calibrated by Platt's sigmoid on cross-validated outputs, each class
against the rest, then normalised (scikit-learn's CalibratedClassifierCV with ensemble=False). The folds depend on the
items alone, so no arm of a comparison is treated differently. Where a class has a single item there is nothing to
cross-validate: the first value of the grid is taken, and probabilities are the softmax of the outputs.

What is learned is kept as plain arrays, so nothing is unpickled, and answers here need no scikit-learn.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse, special
from torch import Tensor, nn

from xal.encoders import Encoder, Texts
from xal.encoders.encoder import Encoding, Masks, State
from xal.errors import XalError
from xal.hints import Field
from xal.models.model import Kind, Model, Shape
from xal.types import Floats, Matrix, Rows

Payload = Any
"""Texts (sequence of str), or features (b, d)."""
Outputs = npt.NDArray[np.float64]
EMBEDDED = 1024  # columns of an embedding, at most


@dataclass(frozen=True, eq=False, kw_only=True)
class Extra:
    """Training items that are no labels."""

    payload: Payload
    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]  # in the loss, where a labelled item has 1
    source: npt.NDArray[np.int64]  # which labelled item each was made from; -1: one that is not among them


@dataclass(frozen=True, kw_only=True)
class Shallow(Model):
    """Base of the scikit-learn classifiers. With an encoder they take texts, without one a table's features."""

    encoder: Encoder | None = None
    """What turns texts into vectors; null: the pool holds features, which are standardised."""
    folds: Annotated[int, Field(ge=2)] = 3
    """Of the cross-validation; fewer where a class has fewer items."""
    calibrate: bool = True
    """Probabilities by Platt's sigmoid, cross-validated; false: by the softmax of the margins, as they are."""

    @property
    def kind(self) -> Kind:
        """text or features."""
        return "features" if self.encoder is None else self.encoder.kind

    @property
    def offers(self) -> frozenset[str]:
        """Nothing besides answers."""
        return frozenset()

    def shape(self, pool: Shape) -> Shape:
        """(d,) of features, () of texts."""
        return pool

    def build(self, shape: Shape, classes: int) -> nn.Module:
        """No torch module is built."""
        raise XalError(f"model '{self.name}' is scikit-learn's and has no gradients; choose another explainer or model")

    @property
    @abstractmethod
    def grid(self) -> Sequence[Any]:
        """Psi: what is chosen by cross-validation."""

    @abstractmethod
    def head(self, psi: Any, seed: int) -> Any:
        """A scikit-learn classifier."""

    @abstractmethod
    def learned(self, head: Any) -> State:
        """The arrays that `outputs` needs."""

    @abstractmethod
    def outputs(self, vectors: Matrix, state: State) -> Outputs:
        """(b, c) outputs before calibration, larger is likelier; of two classes as (-z, z)."""

    def linear(self, state: State) -> tuple[Outputs, Outputs] | None:
        """((c, d) weights, (c,) intercepts) where outputs are linear in the vectors."""
        return None

    def train(
        self,
        payload: Payload,
        labels: npt.NDArray[np.int64],
        classes: int,
        seed: int,
        extra: Extra | None = None,
    ) -> tuple[State, Any]:
        """(what was learned, the chosen value of the grid) from labelled items.

        extra: synthetic items that heads learn from, too, those of cross-validation from the ones made from items that
        they learn from: or calibration would be that of another head. What is fitted and judged else are labels alone.
        Raises XalError where all labels are the same.
        """
        present = np.unique(labels)
        if len(present) < 2:
            raise XalError(
                f"model '{self.name}' cannot learn from {len(labels)} items of one class; label more "
                "(budget.initial), or begin with some of each (budget.balanced)"
            )
        state = dict(self.encoder.fit(payload)) if self.encoder else _scaling(payload)
        encoding = self.encoding(state)
        items = _Items(encoding, payload, labels, extra)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of heads that stop before they converge: the grid judges them
            psi, calibration = self._choose(items, seed)
            head = items.fit(self.head(psi, seed), np.arange(len(labels)))
        state |= {f"head.{name}": values for name, values in self.learned(head).items()}
        return {**state, "classes": present.astype(np.int64), **calibration}, psi

    def _choose(self, items: _Items, seed: int) -> tuple[Any, State]:
        from sklearn.metrics import f1_score
        from sklearn.model_selection import StratifiedKFold

        labels = items.labels
        present, counts = np.unique(labels, return_counts=True)
        folds = min(self.folds, int(counts.min()))
        if folds < 2 or (not self.calibrate and len(self.grid) == 1):
            return self.grid[0], {}
        index = np.searchsorted(present, labels)
        splits = list(StratifiedKFold(folds, shuffle=True, random_state=0).split(np.zeros(len(labels)), labels))
        tried: list[tuple[float, Any, Outputs]] = []
        for psi in self.grid:
            outputs = np.empty((len(labels), len(present)))
            for train, test in splits:
                head = items.fit(self.head(psi, seed), train)
                outputs[test] = self.outputs(items.vectors[test], self.learned(head))
            tried.append((float(f1_score(index, outputs.argmax(axis=1), average="macro")), psi, outputs))
        _, psi, outputs = max(tried, key=lambda each: each[0])  # the first best
        return psi, _platt(outputs, index) if self.calibrate else {}

    def encoding(self, state: State) -> Encoding:
        """The encoder with what it has learned, or the scaling of features."""
        if self.encoder is not None:
            return self.encoder.load(state)
        return Standardised(state["mean"], state["scale"])

    def network(self, weights: dict[str, Tensor], shape: Shape, classes: int, **where: Any) -> ShallowNetwork:
        """Ready to answer, always on the CPU."""
        return ShallowNetwork(self, {name: value.numpy() for name, value in weights.items()}, classes)


class _Items:
    """Labelled items as vectors, and what was made from them."""

    def __init__(
        self, encoding: Encoding, payload: Payload, labels: npt.NDArray[np.int64], extra: Extra | None
    ) -> None:
        self.vectors, self.labels, self.extra = encoding.encode(payload), labels, extra
        self.more = None if extra is None else encoding.encode(extra.payload)

    def fit(self, head: Any, chosen: Rows) -> Any:
        """The head, fitted to the chosen items and what was made from them, or from none of the items."""
        vectors, labels = self.vectors[chosen], self.labels[chosen]
        if self.extra is None or self.more is None:
            return head.fit(vectors, labels)
        also = np.isin(self.extra.source, [*chosen, -1]) & np.isin(self.extra.labels, labels)
        both = [vectors, self.more[also]]
        whole = np.concatenate(both) if isinstance(vectors, np.ndarray) else sparse.csr_array(sparse.vstack(both))
        weights = np.concatenate([np.ones(len(chosen)), self.extra.weights[also]])
        return head.fit(whole, np.concatenate([labels, self.extra.labels[also]]), sample_weight=weights)


class Standardised(Encoding):
    """Features of mean 0 and variance 1 over the training items; a constant one is left at 0."""

    def __init__(self, mean: Floats, scale: Floats) -> None:
        self.mean, self.scale = mean, scale

    def encode(self, texts: Any) -> Matrix:
        """(b, d) from features (b, d)."""
        return (np.asarray(texts, np.float64) - self.mean) / self.scale


def _scaling(features: Payload) -> dict[str, npt.NDArray[Any]]:
    values = np.asarray(features, np.float64)
    scale = values.std(axis=0)
    return {"mean": values.mean(axis=0), "scale": np.where(scale > 0, scale, 1.0)}


def _platt(outputs: Outputs, index: npt.NDArray[np.int64]) -> State:
    """(c,) slopes a and offsets b of 1 / (1 + exp(a z + b)) by scikit-learn, with Platt's priors."""
    from sklearn.calibration import _SigmoidCalibration

    classes = range(1, 2) if outputs.shape[1] == 2 else range(outputs.shape[1])
    fitted = [_SigmoidCalibration().fit(outputs[:, c], index == c) for c in classes]
    return {"platt.a": np.array([each.a_ for each in fitted]), "platt.b": np.array([each.b_ for each in fitted])}


@lru_cache(maxsize=2)
def _projection(words: int) -> Matrix:
    """(words, EMBEDDED) sparse."""
    from sklearn.random_projection import SparseRandomProjection

    fitted = SparseRandomProjection(EMBEDDED, random_state=0).fit(sparse.csr_array((1, words)))
    return sparse.csr_array(fitted.components_.T)


class ShallowNetwork:
    """A trained shallow model. Explainers ask it about coalitions of words."""

    device = torch.device("cpu")

    def __init__(self, model: Shallow, state: State, classes: int) -> None:
        self.model, self.state, self.classes = model, state, classes
        self.kind = model.kind
        self.background: Any = None
        self._encoding = model.encoding(state)
        self._present = state["classes"]
        self._head = {name.removeprefix("head."): value for name, value in state.items() if name.startswith("head.")}

    def probabilities(self, payload: Payload) -> Tensor:
        """(b, c) float64, rows sum to 1; 0 for classes of which no item was labelled."""
        return torch.from_numpy(self._answer(self._encoding.encode(payload), "probability"))

    def outputs(self, payload: Payload, output: str) -> Outputs:
        """(b, c) probabilities, or the margins before calibration; 0 for classes of which no item was labelled."""
        return self._answer(self._encoding.encode(payload), output)

    def embed(self, payload: Payload) -> tuple[Tensor, Tensor]:
        """((b, c) probabilities, (b, d) the encoder's vectors; bags of over EMBEDDED words are projected to as many).

        The projection is random, always the same, and keeps distances within some percent (P. Li, T. Hastie and K.
        Church 2006): strategies want dense vectors, and those of bags would fill the memory.
        """
        vectors = self._encoding.encode(payload)
        told = torch.from_numpy(self._answer(vectors, "probability"))
        if isinstance(vectors, np.ndarray):
            return told, torch.from_numpy(vectors)
        short = vectors if vectors.shape[1] <= EMBEDDED else vectors @ _projection(vectors.shape[1])
        return told, torch.from_numpy(short.toarray())

    def coalitions(self, texts: Texts, output: str) -> Callable[[Rows, Masks], Outputs]:
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

    @property
    def module(self) -> nn.Module:
        """There is none, and XalError says so."""
        return self.model.build((), self.classes)

    def conv_layers(self) -> Sequence[str]:
        """None."""
        return ()

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
