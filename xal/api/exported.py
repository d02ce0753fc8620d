"""A model that `xal export RUN model` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import yaml

from xal.api.inputs import items_of
from xal.campaign.export import MODEL
from xal.core.config import parse
from xal.core.imports import allow, check_stored
from xal.engine.worker import on_device
from xal.errors import RunError
from xal.models import Model
from xal.models.model import Weights
from xal.store.artefacts import WEIGHTS, read_weights


class ExportedModel:
    """Predicts classes of texts, images or rows of a table."""

    def __init__(self, folder: str | Path, modules: Sequence[str] = ()) -> None:
        folder = Path(folder)
        if not (folder / MODEL).is_file():
            raise RunError(f"{folder} holds no model: there is no {MODEL}; `xal export RUN model` writes one")
        told = yaml.safe_load((folder / MODEL).read_text(encoding="utf-8"))
        allow(modules)
        check_stored(told, folder)
        model: Model = parse(Model, told["model"], MODEL)
        self.classes: tuple[str, ...] = tuple(told["classes"])
        self._shape = tuple(told["shape"])
        weights = Weights(arrays=read_weights(folder / WEIGHTS), shape=self._shape, n_classes=len(self.classes))
        self._classifier, self._kind = model.classifier(weights), model.kind

    def predict_proba(self, data: Any) -> npt.NDArray[np.float64]:
        """(n, c) class probabilities in the order of `classes`. data: as `xal.Learner` takes it, or paths as str."""
        if self._kind == "image" and isinstance(data, Sequence) and all(isinstance(item, str) for item in data):
            data = [Path(item) for item in data]
        inputs = items_of(data).decoded(self._kind, self._shape)
        with torch.inference_mode():
            found = self._classifier.probabilities(on_device(inputs, self._classifier.device))
        return np.asarray(found.double().cpu().numpy())

    def predict(self, data: Any) -> npt.NDArray[np.object_]:
        """(n,) predicted class names."""
        return np.asarray(np.array(self.classes, object)[self.predict_proba(data).argmax(axis=1)], object)


def load_model(folder: str | Path, modules: Sequence[str] = ()) -> ExportedModel:
    """Load what `xal export RUN model` wrote. modules: of your own, which its model may name.

    Raises RunError for a folder without a model, or one that names code in other modules.
    """
    return ExportedModel(folder, modules)
