"""Any scikit-learn classifier, pipelines too: `{name: sklearn, estimator: "sklearn.ensemble:RandomForestClassifier"}`.

The fitted estimator is kept by skops, which loads known types alone and never unpickles.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import skops.io
import torch
from scipy import sparse
from torch import Tensor

from xal.encoders import Texts
from xal.encoders.encoder import Masks
from xal.errors import DataError, XalError
from xal.models.model import Model, Placement, Weights
from xal.models.sklearn.classifier import dense_embedding
from xal.models.training_data import Fitted, TrainContext, TrainingData
from xal.types import Kind, Outputs, Rows

SKOPS = ".skops"


@dataclass(frozen=True, kw_only=True)
class Estimator(Model, name="sklearn"):
    """A scikit-learn classifier with `predict_proba`, cloned and fitted anew each round."""

    needs_validation: ClassVar[bool] = False
    distributed: ClassVar[bool] = False

    estimator: str
    """`module:Class`, or a .skops file that holds an estimator, fitted or not."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Arguments of the class, as plain numbers and strings."""
    of: Kind = "features"
    """What its pools hold: features (b, d); image, as pixels (b, c h w) in 0-1; text, as a sequence of str, which
    wants a pipeline that begins with a vectorizer."""
    trusted: tuple[str, ...] = ()
    """Types of your own, `module.Class`, that skops may load."""

    def __post_init__(self) -> None:
        self.unfitted()  # or a mistake would be found out in the first round

    @property
    def kind(self) -> Kind:
        """`of`."""
        return self.of

    def unfitted(self) -> Any:
        """A new estimator; XalError where there is none, or it has no predict_proba."""
        made = self._loaded() if self.estimator.endswith(SKOPS) else self._made()
        check_predicts_probabilities(made)
        from sklearn.base import clone

        return clone(made)

    def fit(self, data: TrainingData, context: TrainContext) -> Fitted:
        """Fit a clone; XalError for what scikit-learn refuses, and for what skops could not load again."""
        if context.workers > 1:
            raise XalError("engine.train_workers: a scikit-learn model is trained by one process; set it to 0 or 1")
        if len(np.unique(data.labels)) < 2:
            raise XalError(
                f"model 'sklearn' cannot learn from {len(data)} items of one class; label more (budget.initial), or "
                "begin with some of each (budget.balanced)"
            )
        estimator = self.unfitted()
        if "random_state" in estimator.get_params() and estimator.get_params()["random_state"] is None:
            estimator.set_params(random_state=context.seed)
        weighted: dict[str, Any] = {}
        if data.sample_weight is not None and "sample_weight" in inspect.signature(estimator.fit).parameters:
            weighted["sample_weight"] = data.sample_weight
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of estimators that stop before they converge
                estimator.fit(_inputs(data.inputs, self.of), data.labels, **weighted)
        except (ValueError, TypeError) as error:
            raise XalError(
                f"model 'sklearn': {type(estimator).__name__} refuses the training items: {error}"
            ) from error
        stored = skops.io.dumps(estimator)
        self._load(stored)
        return Fitted(
            arrays={"skops": np.frombuffer(stored, np.uint8).copy()},
            metrics={
                "train_items": data.n_labelled,
                "synthetic_items": len(data) - data.n_labelled,
                "epochs": 1,
                "best_epoch": 1,
            },
        )

    def classifier(self, weights: Weights, placement: Placement | None = None) -> EstimatorClassifier:
        """Ready to predict, always on the CPU."""
        return EstimatorClassifier(self._load(weights.arrays["skops"].tobytes()), self.of, weights.n_classes)

    def _made(self) -> Any:
        module, colon, name = self.estimator.partition(":")
        try:
            if not colon:
                raise XalError("expected module:Class")
            return getattr(importlib.import_module(module), name)(**self.settings)
        except Exception as error:  # a user's module may raise anything
            raise XalError(f"estimator '{self.estimator}' cannot be made: {error}") from error

    def _loaded(self) -> Any:
        try:
            return self._load(Path(self.estimator).read_bytes())
        except OSError as error:
            raise DataError(f"estimator: no file '{self.estimator}' ({error.strerror})") from error

    def _load(self, stored: bytes) -> Any:
        io = skops.io
        known = {name for name in io.get_untrusted_types(data=stored) if name.startswith("sklearn.")}  # its trees, say
        unknown = sorted(set(io.get_untrusted_types(data=stored)) - known - set(self.trusted))
        if unknown:
            raise XalError(
                f"the estimator holds types that skops does not know: {', '.join(unknown)}; if they are your own, name "
                "them in `trusted`"
            )
        return io.loads(stored, trusted=[*known, *self.trusted])


def check_predicts_probabilities(estimator: Any) -> None:
    """Raise XalError for an object that is no classifier, or has no predict_proba, with what to do."""
    name = type(estimator).__name__
    if not hasattr(estimator, "fit") or not hasattr(estimator, "get_params"):
        raise XalError(f"expected a scikit-learn classifier, got {name}")
    if not hasattr(estimator, "predict_proba"):
        raise XalError(
            f"{name} has no predict_proba, and strategies need probabilities; calibrate it: "
            f"sklearn.calibration.CalibratedClassifierCV({name}())"
        )


class EstimatorClassifier:
    """A fitted scikit-learn classifier."""

    device = torch.device("cpu")
    provides: frozenset[str] = frozenset()

    def __init__(self, estimator: Any, kind: Kind, n_classes: int) -> None:
        self.estimator, self.kind, self.n_classes = estimator, kind, n_classes
        self._present = np.asarray(estimator.classes_, np.int64)

    def probabilities(self, inputs: Any) -> Tensor:
        """(b, c) float64, rows sum to 1; 0 for classes of which no item was labelled."""
        return torch.from_numpy(self._predict(_inputs(inputs, self.kind)))

    def outputs(self, inputs: Any, output: str) -> Outputs:
        """(b, c) probabilities, or as margins their logarithms, at least -30."""
        return self._output(self._predict(_inputs(inputs, self.kind)), output)

    def embed(self, inputs: Any) -> tuple[Tensor, Tensor]:
        """((b, c) probabilities, (b, d) what the last step of a pipeline sees; else the inputs)."""
        plain = _inputs(inputs, self.kind)
        steps = getattr(self.estimator, "steps", None)
        vectors = self.estimator[:-1].transform(plain) if steps and len(steps) > 1 else plain
        if not sparse.issparse(vectors):
            vectors = np.asarray(vectors)
            if vectors.ndim != 2:
                raise XalError("no embedding is defined for this model of texts: make it a pipeline")
        return torch.from_numpy(self._predict(plain)), dense_embedding(vectors)

    def masked_outputs(self, texts: Texts, output: str) -> Callable[[Rows, Masks], Outputs]:
        """Answers for texts of which only some words are left: (items (n,), masks (n, m)) -> (n, c)."""

        def answer(items: Rows, masks: Masks) -> Outputs:
            left = list(texts.left(items, masks))
            distinct = {text: number for number, text in enumerate(dict.fromkeys(left))}
            return self._output(self._predict(list(distinct)), output)[[distinct[text] for text in left]]

        return answer

    def _predict(self, inputs: Any) -> Outputs:
        found = np.asarray(self.estimator.predict_proba(inputs), np.float64)
        if len(self._present) == self.n_classes:
            return found
        whole = np.zeros((len(found), self.n_classes))
        whole[:, self._present] = found
        return whole

    @staticmethod
    def _output(probabilities: Outputs, output: str) -> Outputs:
        return probabilities if output == "probability" else np.log(np.maximum(probabilities, np.exp(-30)))


def _inputs(inputs: Any, kind: Kind) -> Any:
    """What scikit-learn takes: (b, d) float64, or a list of str."""
    if kind == "text":
        return list(inputs)
    values = np.asarray(inputs.cpu() if isinstance(inputs, Tensor) else inputs, np.float64)
    flat: npt.NDArray[np.float64] = values.reshape(len(values), -1)
    return flat / 255 if kind == "image" else flat
