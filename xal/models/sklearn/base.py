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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from xal.core import private
from xal.core._typing import Field
from xal.encoders import Encoder
from xal.encoders.encoder import Encoding, State
from xal.errors import XalError
from xal.models.model import Model, Placement, Weights
from xal.models.sklearn.classifier import SklearnClassifier
from xal.models.training_data import Fitted, TrainContext, TrainingData
from xal.types import Floats, Kind, Matrix, Outputs, Rows


@dataclass(frozen=True, kw_only=True)
class SklearnModel(Model):
    """Base of the scikit-learn classifiers. With an encoder they take texts, without one a table's features."""

    needs_validation: ClassVar[bool] = False

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
    @abstractmethod
    def grid(self) -> Sequence[Any]:
        """Psi: what is chosen by cross-validation."""

    @abstractmethod
    def head(self, hyperparameter: Any, seed: int) -> Any:
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

    def fit(self, data: TrainingData, context: TrainContext) -> Fitted:
        """Choose by cross-validation, fit to all items, calibrate.

        Heads learn from synthetic items, too, those of cross-validation from the ones made from items that they learn
        from: or calibration would be that of another head. What is fitted and judged else are labels alone. Raises
        XalError where all labels are the same.
        """
        if context.workers > 1:
            raise XalError(f"engine.train_workers: model '{self.name}' is trained by one process; set it to 0 or 1")
        inputs, labels = data.inputs[: data.n_labelled], data.labels[: data.n_labelled]
        present = np.unique(labels)
        if len(present) < 2:
            raise XalError(
                f"model '{self.name}' cannot learn from {len(labels)} items of one class; label more "
                "(budget.initial), or begin with some of each (budget.balanced)"
            )
        state = dict(self.encoder.fit(inputs)) if self.encoder else _scaling(inputs)
        items = _Items(self.encoding(state), data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of heads that stop before they converge: the grid judges them
            hyperparameter, calibration = self._choose(items, context.seed)
            head = items.fit(self.head(hyperparameter, context.seed), np.arange(len(labels)))
        state |= {f"head.{name}": values for name, values in self.learned(head).items()}
        arrays = {**state, "classes": present.astype(np.int64), **calibration}
        return Fitted(
            arrays={name: np.array(value, order="C") for name, value in arrays.items()},
            metrics={
                "train_items": data.n_labelled,
                "synthetic_items": len(data) - data.n_labelled,
                "epochs": 1,
                "best_epoch": 1,
                "hyperparameter": hyperparameter,
                "calibrated": "platt.a" in arrays,
            },
        )

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
        for hyperparameter in self.grid:
            outputs = np.empty((len(labels), len(present)))
            for train, test in splits:
                head = items.fit(self.head(hyperparameter, seed), train)
                outputs[test] = self.outputs(items.vectors[test], self.learned(head))
            tried.append((float(f1_score(index, outputs.argmax(axis=1), average="macro")), hyperparameter, outputs))
        _, hyperparameter, outputs = max(tried, key=lambda each: each[0])  # the first best
        return hyperparameter, _platt(outputs, index) if self.calibrate else {}

    def encoding(self, state: State) -> Encoding:
        """The encoder with what it has learned, or the scaling of features."""
        if self.encoder is not None:
            return self.encoder.load(state)
        return Standardised(state["mean"], state["scale"])

    def classifier(self, weights: Weights, placement: Placement | None = None) -> SklearnClassifier:
        """Ready to predict, always on the CPU."""
        return SklearnClassifier(self, weights.arrays, weights.n_classes)


class _Items:
    """Labelled items as vectors, and what was made from them."""

    def __init__(self, encoding: Encoding, data: TrainingData) -> None:
        n = data.n_labelled
        self.vectors, self.labels = encoding.encode(data.inputs[:n]), data.labels[:n]
        self.synthetic = encoding.encode(data.inputs[n:]) if len(data) > n else None
        self.synthetic_labels = data.labels[n:]
        self.source = np.full(len(data) - n, -1) if data.source is None else data.source
        self.weights = np.ones(len(data) - n) if data.sample_weight is None else data.sample_weight[n:]

    def fit(self, head: Any, chosen: Rows) -> Any:
        """The head, fitted to the chosen items and what was made from them, or from none of the items."""
        vectors, labels = self.vectors[chosen], self.labels[chosen]
        if self.synthetic is None:
            return head.fit(vectors, labels)
        also = np.isin(self.source, [*chosen, -1]) & np.isin(self.synthetic_labels, labels)
        both = [vectors, self.synthetic[also]]
        whole = np.concatenate(both) if isinstance(vectors, np.ndarray) else sparse.csr_array(sparse.vstack(both))
        weights = np.concatenate([np.ones(len(chosen)), self.weights[also]])
        return head.fit(whole, np.concatenate([labels, self.synthetic_labels[also]]), sample_weight=weights)


class Standardised(Encoding):
    """Features of mean 0 and variance 1 over the training items; a constant one is left at 0."""

    def __init__(self, mean: Floats, scale: Floats) -> None:
        self.mean, self.scale = mean, scale

    def encode(self, texts: Any) -> Matrix:
        """(b, d) from features (b, d)."""
        return (np.asarray(texts, np.float64) - self.mean) / self.scale


def _scaling(features: Any) -> dict[str, npt.NDArray[Any]]:
    values = np.asarray(features, np.float64)
    scale = values.std(axis=0)
    return {"mean": values.mean(axis=0), "scale": np.where(scale > 0, scale, 1.0)}


def _platt(outputs: Outputs, index: npt.NDArray[np.int64]) -> State:
    """(c,) slopes a and offsets b of 1 / (1 + exp(a z + b)) by scikit-learn, with Platt's priors."""
    classes = range(1, 2) if outputs.shape[1] == 2 else range(outputs.shape[1])
    a, b = zip(*(private.platt_sigmoid(outputs[:, c], index == c) for c in classes), strict=True)
    return {"platt.a": np.array(a), "platt.b": np.array(b)}
