"""Classifiers fitted for tests of explainers, and sentences to fit them to."""

from pathlib import Path
from typing import Any

import numpy as np

from xal.data.build.treebank import treebank
from xal.models import Model
from xal.models.model import Weights
from xal.models.training_data import TrainContext, TrainingData


def sst5(data: Path) -> tuple[list[str], np.ndarray]:
    """The development sentences of SST-5 and their labels."""
    items = list(treebank(data / "sst5" / "dev.txt.gz", True).items)
    return [item.raw for item in items], np.array([item.label for item in items])


def trained(model: Model, payload: Any, labels: Any) -> Any:
    """The model fitted to items with these labels."""
    names, index = np.unique(labels, return_inverse=True)
    payload = np.asarray(payload, object) if isinstance(payload[0], str) else payload
    data = TrainingData(
        inputs=payload, labels=index.astype(np.int64), n_classes=len(names), shape=payload.shape[1:],
        n_labelled=len(payload),
    )  # fmt: skip
    arrays = model.fit(data, TrainContext()).arrays
    return model.classifier(Weights(arrays=arrays, shape=data.shape, n_classes=len(names)))
