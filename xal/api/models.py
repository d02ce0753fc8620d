"""A model of a user's own as the `model` section of a recipe."""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xal.core.config import unparse
from xal.errors import XalError
from xal.models import Model
from xal.models.sklearn.estimator import check_predicts_probabilities
from xal.types import Kind

DEFAULTS: dict[Kind, Any] = {
    "text": {"name": "logistic_regression", "encoder": "tfidf"},
    "features": "logistic_regression",
    "image": "convnet",
}
PLAIN = (str, int, float, bool, type(None))


def model_section(model: Any, kind: Kind, directory: Path, classes: Sequence[str] | None) -> Any:
    """The section for a name, a mapping, a `Model`, a scikit-learn classifier, a torch module or what makes one.

    directory: where an estimator that no class and plain arguments can make again is kept. Raises XalError for
    anything else, for a classifier without predict_proba, and for a torch module whose classes are not known.
    """
    if model is None:
        return DEFAULTS[kind]
    if isinstance(model, str | dict):
        return model
    if isinstance(model, Model):
        return unparse(model)
    if hasattr(model, "fit") and hasattr(model, "get_params") and not isinstance(model, type):
        return _estimator(model, kind, directory)
    return _torch(model, kind, directory, classes)


def _estimator(model: Any, kind: Kind, directory: Path) -> dict[str, Any]:
    check_predicts_probabilities(model)
    section: dict[str, Any] = {"name": "sklearn", "of": kind}
    settings = model.get_params(deep=False)
    made_by = type(model)
    if made_by.__module__ != "__main__" and all(isinstance(value, PLAIN) for value in settings.values()):
        defaults = made_by().get_params(deep=False)
        changed = {name: value for name, value in settings.items() if value != defaults[name]}
        return section | {"estimator": f"{_public(made_by)}:{made_by.__qualname__}", "settings": changed}
    import skops.io  # takes seconds
    from sklearn.base import clone

    path = directory / "estimator.skops"
    stored = skops.io.dumps(clone(model))
    unknown = skops.io.get_untrusted_types(data=stored)
    path.write_bytes(stored)
    return section | {"estimator": str(path), "trusted": sorted(unknown)}


def _public(made_by: type) -> str:
    """The shortest module that has the class: `sklearn.linear_model`, not `sklearn.linear_model._logistic`."""
    parts = made_by.__module__.split(".")
    for end in range(1, len(parts)):
        if getattr(importlib.import_module(".".join(parts[:end])), made_by.__name__, None) is made_by:
            return ".".join(parts[:end])
    return made_by.__module__


def _torch(model: Any, kind: Kind, directory: Path, classes: Sequence[str] | None) -> dict[str, Any]:
    from torch import nn

    from xal.models.torch.module import remember

    if kind == "text":
        raise XalError("a torch module takes images or features, not texts; give a scikit-learn pipeline, or a name")
    section: dict[str, Any] = {"name": "torch", "of": kind}
    name = str(directory)
    if isinstance(model, nn.Module):
        if classes is None:
            raise XalError("a torch module has a fixed number of outputs; give classes=[...] in their order")
        return section | {"factory": remember(name, lambda shape, n_classes: copy.deepcopy(model))}
    if not callable(model):
        raise XalError(
            f"expected a model's name, a scikit-learn classifier, or a torch module, got {type(model).__name__}"
        )
    module, qualname = getattr(model, "__module__", "__main__"), getattr(model, "__qualname__", "<locals>")
    if module != "__main__" and qualname.isidentifier() and inspect.getmodule(model) is not None:
        return section | {"factory": f"{module}:{qualname}"}
    return section | {"factory": remember(name, model)}
