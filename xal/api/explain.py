"""Explain the predictions of a model of one's own, without a campaign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from xal.api.inputs import Items, decoded, items_of
from xal.core.config import parse
from xal.errors import XalError
from xal.explainers import Explainer
from xal.explainers.visualization import top_words
from xal.models.model import Classifier
from xal.models.sklearn.estimator import EstimatorClassifier, check_predicts_probabilities
from xal.models.torch.classifier import TorchClassifier
from xal.models.torch.module import TorchModule
from xal.types import Explanations, Shape, dense


def explain(
    model: Any,
    data: Any,
    *,
    explainer: str | dict[str, Any] | Explainer = "shap_partition",
    target: int | Sequence[int] | None = None,
    baselines: Any = None,
    scale: float | None = None,
) -> Explanations:
    """Explain the predicted class of each item, or the class `target`.

    model: a fitted scikit-learn classifier, a torch module that takes float inputs and gives logits, or a
    `xal.Classifier`. data: as `xal.Learner` takes it: features, texts, images. target: a class index for all items, or
    one each. baselines: items that stand for what is masked, for tables; None: the mean of the data. scale: what a
    torch module's inputs are divided by; None: 255 for images, 1 for features.

    Raises XalError where explainer, model and data do not fit together.
    """
    chosen: Explainer = parse(Explainer, explainer, "explainer")
    items = items_of(data)
    classifier = _classifier(model, items, scale)
    shape = _shape(items)
    inputs = decoded(_column(items), items.kind, classifier.kind, shape)
    reason = chosen.unfit(items.kind)
    if reason:
        raise XalError(f"explainer '{chosen.name}' {reason.replace('the pool holds', 'the data holds')}")
    given = inputs if items.kind == "text" else torch.from_numpy(np.require(inputs, requirements="W"))
    stand_ins = None
    if chosen.n_baselines and items.kind != "text":
        stand_ins = _baselines(baselines, given, items, classifier, shape)
    classes = None
    if target is not None:
        classes = torch.as_tensor(np.broadcast_to(np.asarray(target, np.int64), len(items)).copy())
    return chosen.explain(classifier, given, classes, stand_ins)


def top_features(
    explanations: Explanations, data: Any, n: int = 5, columns: Sequence[str] = ()
) -> list[list[tuple[str, float]]]:
    """The n features of largest absolute attribution of each item, with their names and attributions.

    data: the explained items: texts, or rows of a table (`columns`: their names; a DataFrame has its own). Segments and
    pixels of images go by their numbers in `explanations.segments`.
    """
    items = items_of(data)
    if len(items) != len(explanations):
        raise XalError(f"{len(explanations)} explanations of {len(items)} items; give the items that were explained")
    if items.kind == "image" and explanations.feature_kind != "concepts":
        values = np.nan_to_num(dense(explanations.attributions))
        order = np.argsort(-np.abs(values), axis=1, kind="stable")[:, :n]
        return [[(str(i), float(row[i])) for i in best] for row, best in zip(values, order.tolist(), strict=True)]
    inputs = decoded(_column(items), items.kind, items.kind, _shape(items))
    names = items.names or tuple(columns)
    return [top_words(each, explanations.item(i), names, limit=n) for i, each in enumerate(inputs)]


def _classifier(model: Any, items: Items, scale: float | None) -> Any:
    if isinstance(model, torch.nn.Module):
        if items.kind == "text":
            raise XalError("a torch module takes images or features, not texts")
        return TorchClassifier(TorchModule(factory="explain", of=items.kind, scale=scale), model)
    if isinstance(model, Classifier):
        return model
    check_predicts_probabilities(model)
    if not hasattr(model, "classes_"):
        raise XalError(f"{type(model).__name__} is not fitted; call fit first")
    return EstimatorClassifier(_Numbered(model), items.kind, len(model.classes_))


class _Numbered:
    """A fitted estimator whose classes are called 0..c-1."""

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator
        self.classes_ = np.arange(len(estimator.classes_))

    def predict_proba(self, inputs: Any) -> Any:
        """Of the estimator."""
        return self._estimator.predict_proba(inputs)


def _column(items: Items) -> Any:
    import pyarrow as pa

    return pa.chunked_array([items.column()])


def _shape(items: Items) -> Shape:
    if items.kind != "image":
        return () if items.kind == "text" else (items.width,)
    from xal.data.images import shape_of

    shapes = {shape_of(payload) for payload in items.payloads}  # type: ignore[arg-type]
    if len(shapes) > 1:
        raise XalError(f"images must be of one size and number of channels, got {sorted(shapes)[:3]}; resize them")
    return shapes.pop()


def _baselines(baselines: Any, given: Any, items: Items, classifier: Any, shape: Shape) -> Any:
    if baselines is None:
        return given.double().mean(dim=0, keepdim=True).to(given.dtype)
    stand_ins = items_of(baselines)
    return torch.from_numpy(
        np.require(decoded(_column(stand_ins), stand_ins.kind, items.kind, shape), requirements="W")
    )
