"""Any scikit-learn classifier or pipeline: `{name: sklearn, estimator: "sklearn.ensemble:RandomForestClassifier"}`.

The fitted estimator is stored by skops, which loads trusted types only and never unpickles.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from xal.core import imports
from xal.core.projection import narrowed
from xal.encoders import Texts
from xal.encoders.encoder import Masks
from xal.errors import DataError, XalError
from xal.models.model import Model, Placement, Weights
from xal.models.training_data import Fitted, TrainContext, TrainingData
from xal.types import Kind, Outputs, Rows

SKOPS = ".skops"


@dataclass(frozen=True, kw_only=True)
class Estimator(Model, name="sklearn"):
    """A scikit-learn classifier with `predict_proba`, cloned and fitted again in each round."""

    needs_validation: ClassVar[bool] = False
    distributed: ClassVar[bool] = False

    estimator: str
    """`module:Class`, or the path of a .skops file with an estimator, fitted or not."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Arguments of the class, as plain numbers and strings."""
    of: Kind = "features"
    """Kind of item that the pool holds: features (b, d); image, as pixels (b, c h w) in 0-1; or text, as a sequence of
    str, for a pipeline that begins with a vectorizer."""
    trusted: tuple[str, ...] = ()
    """Your own types, as `module.Class`, that skops may load."""

    def __post_init__(self) -> None:
        self.unfitted()  # reports mistakes now rather than in the first round

    @property
    def kind(self) -> Kind:
        """The kind given by `of`."""
        return self.of

    def unfitted(self) -> Any:
        """A new, unfitted estimator; raises XalError if it cannot be made or has no predict_proba."""
        estimator = self._read_skops() if self.estimator.endswith(SKOPS) else self._construct()
        check_predicts_probabilities(estimator)
        from sklearn.base import clone

        return clone(estimator)

    def fit(self, data: TrainingData, context: TrainContext) -> Fitted:
        """Fit a clone; raises XalError if scikit-learn refuses the items or skops could not load the result again."""
        if context.workers > 1:
            raise XalError("engine.train_workers: a scikit-learn model is trained by one process; set it to 0 or 1")
        if len(np.unique(data.labels)) < 2:
            raise XalError(
                f"model 'sklearn' cannot learn from {len(data)} items of one class; label more (budget.initial), or "
                "start with items of every class (budget.balanced)"
            )
        estimator = self.unfitted()
        if "random_state" in estimator.get_params() and estimator.get_params()["random_state"] is None:
            estimator.set_params(random_state=context.seed)
        fit_args: dict[str, Any] = {}
        if data.sample_weight is not None and "sample_weight" in inspect.signature(estimator.fit).parameters:
            fit_args["sample_weight"] = data.sample_weight
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # such as those of estimators that stop before they converge
                estimator.fit(_inputs(data.inputs, self.of), data.labels, **fit_args)
        except (ValueError, TypeError) as error:
            raise XalError(
                f"model 'sklearn': {type(estimator).__name__} refuses the training items: {error}"
            ) from error
        from skops.io import dumps

        stored = dumps(estimator)
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
        """The trained classifier, always on the CPU."""
        return EstimatorClassifier(self._load(weights.arrays["skops"].tobytes()), self.of, weights.n_classes)

    def _construct(self) -> Any:
        try:
            if ":" not in self.estimator:
                raise XalError("expected module:Class")
            return imports.attribute(self.estimator)(**self.settings)
        except Exception as error:  # a user's module may raise anything
            raise XalError(f"estimator '{self.estimator}' cannot be made: {error}") from error

    def _read_skops(self) -> Any:
        try:
            return self._load(Path(self.estimator).read_bytes())
        except OSError as error:
            raise DataError(f"estimator: no file '{self.estimator}' ({error.strerror})") from error

    def _load(self, stored: bytes) -> Any:
        from skops import io  # it imports all of scikit-learn, which a bare GPU machine may lack

        untrusted = set(io.get_untrusted_types(data=stored))
        sklearn_types = {name for name in untrusted if name.startswith("sklearn.")}  # such as scikit-learn's trees
        unknown = sorted(untrusted - sklearn_types - set(self.trusted))
        if unknown:
            raise XalError(
                f"the estimator holds types that skops does not trust: {', '.join(unknown)}; if they are your own, "
                "list them in `trusted`"
            )
        return io.loads(stored, trusted=[*sklearn_types, *self.trusted])


def check_predicts_probabilities(estimator: Any) -> None:
    """Raise XalError if `estimator` is not a scikit-learn classifier or has no predict_proba."""
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
        self._trained_classes = np.asarray(estimator.classes_, np.int64)

    def probabilities(self, inputs: Any) -> Tensor:
        """(b, c) float64, rows sum to 1; 0 for classes without labelled items."""
        return torch.from_numpy(self._predict(_inputs(inputs, self.kind)))

    def outputs(self, inputs: Any, output: str) -> Outputs:
        """(b, c) probabilities; as margins, their logarithms, at least -30."""
        return self._output(self._predict(_inputs(inputs, self.kind)), output)

    @property
    def head(self) -> EstimatorClassifier:
        """Itself: it has no encoder."""
        return self

    def embed(self, inputs: Any) -> tuple[Tensor, Tensor]:
        """((b, c) probabilities, (b, d) inputs of the last step of a pipeline, or the inputs of another estimator)."""
        plain = _inputs(inputs, self.kind)
        steps = getattr(self.estimator, "steps", None)
        vectors = self.estimator[:-1].transform(plain) if steps and len(steps) > 1 else plain
        if not sparse.issparse(vectors):
            vectors = np.asarray(vectors)
            if vectors.ndim != 2:
                raise XalError("this model of texts has no embedding; make it a pipeline that begins with a vectorizer")
        return torch.from_numpy(self._predict(plain)), torch.from_numpy(narrowed(vectors))

    def masked_outputs(self, texts: Texts, output: str) -> Callable[[Rows, Masks], Outputs]:
        """A function (items (n,), masks (n, m)) -> (n, c) outputs of texts with only the words that the masks keep."""

        def masked(items: Rows, masks: Masks) -> Outputs:
            masked_texts = list(texts.left(items, masks))
            index_of = {text: index for index, text in enumerate(dict.fromkeys(masked_texts))}
            return self._output(self._predict(list(index_of)), output)[[index_of[text] for text in masked_texts]]

        return masked

    def _predict(self, inputs: Any) -> Outputs:
        probabilities = np.asarray(self.estimator.predict_proba(inputs), np.float64)
        if len(self._trained_classes) == self.n_classes:
            return probabilities
        padded = np.zeros((len(probabilities), self.n_classes))
        padded[:, self._trained_classes] = probabilities
        return padded

    @staticmethod
    def _output(probabilities: Outputs, output: str) -> Outputs:
        return probabilities if output == "probability" else np.log(np.maximum(probabilities, np.exp(-30)))


def _inputs(inputs: Any, kind: Kind) -> Any:
    """The inputs as scikit-learn takes them: (b, d) float64, or a list of str."""
    if kind == "text":
        return list(inputs)
    values = np.asarray(inputs.cpu() if isinstance(inputs, Tensor) else inputs, np.float64)
    flat: npt.NDArray[np.float64] = values.reshape(len(values), -1)
    return flat / 255 if kind == "image" else flat
