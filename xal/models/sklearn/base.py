"""Classifiers of texts and tables: an encoder, a scikit-learn head, and Platt calibration.

The hyperparameter of the head is chosen from a grid by stratified cross-validation on macro F1; the first value wins
ties. The head is then fitted to all training items. Its outputs are calibrated by Platt's sigmoid, which is fitted to
the cross-validated outputs of each class against the rest, and normalised (as by scikit-learn's CalibratedClassifierCV
with ensemble=False). The folds depend on the items alone, so all arms of a comparison are treated alike. A class of one
item cannot be folded: its item is in every training fold and in no test fold, and its outputs are calibrated by the
mean of the other classes' sigmoids. If fewer than two classes can be folded, the middle value of the grid is taken, and
probabilities are the softmax of the outputs.

The fitted model is stored as plain arrays: nothing is unpickled, and predictions do not need scikit-learn.
"""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse

from xal.core import private
from xal.core._typing import Field
from xal.core.threads import threads
from xal.encoders import Encoder
from xal.encoders.encoder import Encoding, Kept, State
from xal.errors import XalError
from xal.models.dropped import DRAWS, dropped
from xal.models.model import Model, Placement, Weights
from xal.models.sklearn.classifier import SklearnClassifier
from xal.models.training_data import Fitted, TrainContext, TrainingData
from xal.types import Floats, Kind, Matrix, Outputs, Rows, Shape

FEW_EVALUATIONS = 64  # of an image whose network takes most of a round's time
FEW = 3  # items a class below which nothing is chosen by cross-validation, and nothing calibrated
SMALL = 2**22  # numbers in the vectors up to which threads of BLAS wait for each other longer than they work


@dataclass(frozen=True, kw_only=True)
class SklearnModel(Model):
    """Base of the scikit-learn classifiers. With an encoder they take texts, without one the features of a table."""

    needs_validation: ClassVar[bool] = False
    progress_unit: ClassVar[str] = "fits"

    encoder: Encoder | None = None
    """Encoder that turns texts or images into vectors; null: the pool holds features, which are standardised."""
    folds: Annotated[int, Field(ge=2)] = 3
    """Folds of the cross-validation; fewer if a class has fewer items."""
    calibrate: bool = True
    """Whether margins are calibrated by Platt's sigmoid; false: probabilities are the softmax of the margins."""

    @property
    def kind(self) -> Kind:
        """`features` without an encoder, else the kind that the encoder takes."""
        return "features" if self.encoder is None else self.encoder.kind

    @property
    def default_strategy(self) -> str:  # type: ignore[override]
        """`auto` where vectors of the items are kept, else `margin`."""
        return "margin" if self.kept_encoder is None else "auto"

    @property
    def default_explainer(self) -> Any:
        """`shap_partition`, with few evaluations where networks are slow; `shap_embedding` for vectors of the pool."""
        if self.encoder is None or self.encoder.pool_column is None:
            slow = self.kept_encoder is not None and self.kind == "image"
            return {"name": "shap_partition", "max_evals": FEW_EVALUATIONS} if slow else "shap_partition"
        return "shap_embedding" if "linear_head" in self.provides else None

    @property
    def provides(self) -> frozenset[str]:
        """What the encoder provides, except gradients, which end at most heads; and `sampled_probabilities`."""
        of_encoder = frozenset() if self.encoder is None else self.encoder.provides - {"gradients"}
        return super().provides | of_encoder | {"sampled_probabilities"}

    def missing_for(self, requirement: str, shape: Shape, n_classes: int) -> str | None:
        """For `conv_layers`, checks that the encoder's network has a convolution."""
        if requirement != "conv_layers" or self.encoder is None:
            return None
        module = getattr(self.encoder.load({}), "module", None)
        if module is None or not any(isinstance(layer, torch.nn.Conv2d) for layer in module.modules()):
            return f"encoder '{self.encoder.name}' has no convolutions"
        return None

    @property
    def fixed_shape(self) -> Shape | None:
        """The shape that the encoder takes; None: that of the pool."""
        return None if self.encoder is None else self.encoder.input_shape

    @property
    def kept_encoder(self) -> Encoder | None:
        """The encoder, if its vectors depend on the item alone."""
        return self.encoder if self.encoder is not None and self.encoder.kept else None

    @property
    def download(self) -> str | None:
        """What the encoder downloads."""
        return None if self.encoder is None else self.encoder.download

    @property
    @abstractmethod
    def grid(self) -> Sequence[Any]:
        """Values of the hyperparameter, from which cross-validation chooses; the first wins ties."""

    @abstractmethod
    def head(self, hyperparameter: Any, seed: int) -> Any:
        """A new, unfitted scikit-learn classifier."""

    @abstractmethod
    def learned(self, head: Any) -> State:
        """The arrays of a fitted head that `outputs` needs."""

    @abstractmethod
    def outputs(self, vectors: Matrix, state: State) -> Outputs:
        """(b, c) outputs before calibration, larger is likelier; (-z, z) for two classes."""

    def sampled(self, vectors: Matrix, state: State) -> Iterator[Outputs]:
        """Outputs (b, c) of one draw after the other: here, with 3/4 of the vectors' columns dropped."""
        for draw in range(DRAWS):
            factors = dropped(draw, 0, vectors.shape[1])
            left = vectors * factors if isinstance(vectors, np.ndarray) else sparse.csr_array(vectors.multiply(factors))
            yield self.outputs(left, state)

    def linear(self, state: State) -> tuple[Outputs, Outputs] | None:
        """((c, d) weights, (c,) intercepts) if the outputs are linear in the vectors, else None."""
        return None

    def fit(self, data: TrainingData, context: TrainContext) -> Fitted:
        """Choose the hyperparameter by cross-validation, fit the head to all items, calibrate.

        Heads are also fitted to synthetic items. In cross-validation, these are only the synthetic items made from the
        training items of the fold (or from items outside `data`), so that calibration applies to a head trained in the
        same way. The encoder, the choice of the hyperparameter and the calibration use labelled items only. With fewer
        than three labels a class, the middle of the grid is taken and nothing calibrated, as held-out items would only
        tell noise. Raises XalError if all labels are the same.
        """
        if context.workers > 1:
            raise XalError(f"engine.train_workers: model '{self.name}' is trained by one process; set it to 0 or 1")
        inputs, labels = data.inputs[: data.n_labelled], data.labels[: data.n_labelled]
        classes = np.unique(labels)
        if len(classes) < 2:
            raise XalError(
                f"model '{self.name}' cannot learn from {len(labels)} items of one class; label more "
                "(budget.initial), or start with items of every class (budget.balanced)"
            )
        if self.encoder is None:
            state: dict[str, Any] = _scaling(inputs)
        else:
            state = {} if data.on_vectors else dict(self.encoder.fit(inputs))
        items = _Items(Kept() if data.on_vectors else self.encoding(state), data)
        one_thread = threads(1) if math.prod(items.vectors.shape) <= SMALL else nullcontext()
        with one_thread, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as those of heads that stop before they converge
            hyperparameter, calibration, fits = self._choose(items, context)
            head = items.fit(self.head(hyperparameter, context.seed), np.arange(len(labels)))
            context.progress(fits + 1, fits + 1)
        state |= {f"head.{name}": values for name, values in self.learned(head).items()}
        arrays = {**state, "classes": classes.astype(np.int64), **calibration}
        if self.kept_encoder is not None:
            arrays["centre"] = np.asarray(items.vectors, np.float64).mean(axis=0)
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

    def _choose(self, items: _Items, context: TrainContext) -> tuple[Any, State, int]:
        """(hyperparameter, calibration, number of heads that were fitted)."""
        from sklearn.metrics import f1_score
        from sklearn.model_selection import StratifiedKFold

        labels = items.labels
        classes, targets, counts = np.unique(labels, return_inverse=True, return_counts=True)
        if len(self.grid) == 1 and not self.calibrate:
            return self.grid[0], {}, 0
        foldable = np.flatnonzero(counts > 1)
        if len(foldable) < 2 or len(labels) < FEW * len(classes):  # held-out items would only tell noise
            return self.grid[len(self.grid) // 2], {}, 0
        folded, single = np.flatnonzero(counts[targets] > 1), np.flatnonzero(counts[targets] == 1)
        folds = StratifiedKFold(min(self.folds, int(counts[foldable].min())), shuffle=True, random_state=0)
        splits = list(folds.split(np.zeros(len(folded)), labels[folded]))
        results: list[tuple[float, Any, Outputs]] = []
        fits, total = 0, len(self.grid) * len(splits) + 1
        for hyperparameter in self.grid:
            outputs = np.empty((len(labels), len(classes)))
            for train, test in splits:
                head = items.fit(
                    self.head(hyperparameter, context.seed), np.sort(np.concatenate([folded[train], single]))
                )
                outputs[folded[test]] = self.outputs(items.vectors[folded[test]], self.learned(head))
                fits += 1
                context.progress(fits, total)
            predicted = outputs[folded].argmax(axis=1)
            score = float(f1_score(targets[folded], predicted, labels=foldable, average="macro", zero_division=0))
            results.append((score, hyperparameter, outputs[folded]))
        _, hyperparameter, outputs = max(results, key=lambda result: result[0])  # the first wins ties
        return hyperparameter, _platt(outputs, targets[folded]) if self.calibrate else {}, fits

    def encoding(self, state: State) -> Encoding:
        """The encoder with its fitted state, or the scaling of features."""
        if self.encoder is not None:
            return self.encoder.load(state)
        return Standardised(state["mean"], state["scale"])

    def classifier(self, weights: Weights, placement: Placement | None = None) -> SklearnClassifier:
        """The trained classifier; its head is on the CPU, an encoder that is a network on the given device."""
        return SklearnClassifier(
            self, weights.arrays, weights.n_classes, "cpu" if placement is None else placement.device
        )


class _Items:
    """Labelled items and synthetic items as vectors."""

    def __init__(self, encoding: Encoding, data: TrainingData) -> None:
        n = data.n_labelled
        self.vectors, self.labels = encoding.vectors(data.inputs[:n]), data.labels[:n]
        self.synthetic = encoding.vectors(data.inputs[n:]) if len(data) > n else None
        self.synthetic_labels = data.labels[n:]
        self.source = np.full(len(data) - n, -1) if data.source is None else data.source
        self.weights = np.ones(len(data) - n) if data.sample_weight is None else data.sample_weight[n:]

    def fit(self, head: Any, chosen: Rows) -> Any:
        """Fit `head` to the chosen items and the synthetic items made from them or from items outside the data."""
        vectors, labels = self.vectors[chosen], self.labels[chosen]
        if self.synthetic is None:
            return head.fit(vectors, labels)
        selected = np.isin(self.source, [*chosen, -1]) & np.isin(self.synthetic_labels, labels)
        parts = [vectors, self.synthetic[selected]]
        joined = np.concatenate(parts) if isinstance(vectors, np.ndarray) else sparse.csr_array(sparse.vstack(parts))
        weights = np.concatenate([np.ones(len(chosen)), self.weights[selected]])
        return head.fit(joined, np.concatenate([labels, self.synthetic_labels[selected]]), sample_weight=weights)


class Standardised(Encoding):
    """Scales features to mean 0 and variance 1 over the training items; constant features are only centred."""

    def __init__(self, mean: Floats, scale: Floats) -> None:
        self.mean, self.scale = mean, scale

    def encode(self, texts: Any) -> Matrix:
        """(b, d) scaled features."""
        return (np.asarray(texts, np.float64) - self.mean) / self.scale


def _scaling(features: Any) -> dict[str, npt.NDArray[Any]]:
    values = np.asarray(features, np.float64)
    scale = values.std(axis=0)
    return {"mean": values.mean(axis=0), "scale": np.where(scale > 0, scale, 1.0)}


def _platt(outputs: Outputs, targets: npt.NDArray[np.int64]) -> State:
    """(c,) slopes a and offsets b of 1 / (1 + exp(a z + b)), with Platt's priors; one of each for two classes.

    A class without targets takes the mean slope and offset of the others.
    """
    classes = range(1, 2) if outputs.shape[1] == 2 else range(outputs.shape[1])
    fitted = {c: private.platt_sigmoid(outputs[:, c], targets == c) for c in classes if (targets == c).any()}
    mean = tuple(np.mean(list(fitted.values()), axis=0))
    a, b = zip(*(fitted.get(c, mean) for c in classes), strict=True)
    return {"platt.a": np.array(a), "platt.b": np.array(b)}
