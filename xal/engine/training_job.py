"""A round's training as a picklable job, which runs in process or on training workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from safetensors.torch import save
from torch import nn

from xal.core.threads import threads
from xal.data.decode import payload_of
from xal.data.embeddings import Embeddings
from xal.data.pool import Pool
from xal.engine.correction_targets import read_correction_targets
from xal.errors import DataError, XalError
from xal.feedback import Feedback
from xal.models.model import Model
from xal.models.train_settings import TrainSettings
from xal.models.training_data import Fitted, TrainContext, TrainingData
from xal.store.artefacts import read_items, read_weights
from xal.types import Labels, Rows, Shape


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """Trains `model` on labelled and synthetic items and writes its best weights."""

    model: Model
    shape: Shape
    n_classes: int
    item_files: tuple[Path, ...]  # Parquet files with the columns id and the payload
    labels: Mapping[str, int]
    holdout: frozenset[str]  # ids of the validation split
    settings: TrainSettings
    seed: int
    start: Path | None = None  # weights to fine-tune; None: from scratch
    synthetic: tuple[Path, ...] = ()  # Parquet files of synthetic items: payload, source, class_index, weight
    feedback: Feedback | None = None  # how corrections change training
    correction_targets: Path | None = None  # file of correction targets, for a loss; None: no corrections yet
    validation: Pool | None = None  # validation pool for choosing the epoch, instead of `holdout`
    class_index: Mapping[str, int] | None = None  # class index by label, for the validation pool
    embeddings: Embeddings | None = None  # kept vectors of the pool's items, by their rows, for the model's head

    def run(
        self,
        weights: Path | None,
        *,
        device: str,
        rank: int = 0,
        workers: int = 1,
        wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> dict[str, Any]:
        """Train, write the weights (safetensors) to `weights` unless it is None, and return the metrics of the fit."""
        start = None if self.start is None else read_weights(self.start)
        context = TrainContext(
            settings=self.settings,
            seed=self.seed,
            start=start,
            correction_loss=self.feedback if self.feedback is not None and self.feedback.has_loss else None,
            device=device,
            rank=rank,
            workers=workers,
            wrap=wrap,
            progress=progress,
        )
        data = self._data()
        sizes = {"train_items": data.n_labelled, "synthetic_items": len(data) - data.n_labelled}
        with threads(self.settings.threads):
            fitted = self.model.fit(data, context)
        if not isinstance(fitted, Fitted) or not all(isinstance(array, np.ndarray) for array in fitted.arrays.values()):
            raise XalError(f"model '{self.model.name}': fit gave {type(fitted).__name__}; expected Fitted, with arrays")
        if weights is not None:
            weights.write_bytes(save({name: torch.from_numpy(array) for name, array in fitted.arrays.items()}))
        return {"validation_items": len(self.holdout), **sizes, "epochs": 1, "best_epoch": 1, **fitted.metrics}

    def _data(self) -> TrainingData:
        """The training data, labelled items first, then synthetic ones, and its validation data."""
        ids, parts = [], []
        labelled = pa.array(list(self.labels), pa.string())
        for path in self.item_files:
            table = read_items(path, ["id", "row" if self.embeddings else self.model.kind])
            table = table.filter(pc.is_in(table["id"], labelled))  # others were skipped
            ids += table["id"].to_pylist()
            parts.append(
                _kept(self.embeddings, table["row"].to_numpy()) if self.embeddings else self._payload(table, path)
            )
        labels = [self.labels[item] for item in ids]
        sources: list[str] = []
        weights: list[Any] = [np.ones(len(ids))]
        for path in self.synthetic:
            table = read_items(path, ["id", self.model.kind, "source", "class_index", "weight"])
            if not len(table):
                continue
            parts.append(self._encoded(self._payload(table, path)))
            labels += table["class_index"].to_pylist()
            sources += table["source"].to_pylist()
            weights.append(table["weight"].to_numpy())
        data = TrainingData(
            inputs=np.concatenate(parts),
            labels=np.array(labels, np.int64),
            n_classes=self.n_classes,
            shape=self.shape,
            n_labelled=len(ids),
            on_vectors=self.embeddings is not None,
            sample_weight=_none_if_all_ones(np.concatenate(weights)),
        )
        parts.clear()  # frees a second copy of the images
        if self.feedback is not None and self.feedback.has_loss:
            width = None if "self_explaining" in self.feedback.requires else 0
            targets = read_correction_targets(self.correction_targets, ids, data.labels, self.shape, width)
            data = replace(data, correction_targets=targets)
        return self._split(data, ids, sources)

    def _split(self, data: TrainingData, ids: Sequence[str], sources: Sequence[str]) -> TrainingData:
        """Move the holdout items to `validation`, and give each synthetic item the index of its source item."""
        held_out = np.array([item in self.holdout for item in ids] + [False] * (len(data) - len(ids)), bool)
        train_ids = [item for item in ids if item not in self.holdout]
        index_of = {item: index for index, item in enumerate(train_ids)}
        validation = self._validation(self.validation) if self.validation is not None else None
        if validation is None and held_out.any() and self.model.needs_validation:
            validation = _take(data, held_out, n_labelled=int(held_out.sum()))
        if held_out.any():
            data = _take(data, ~held_out, n_labelled=len(train_ids))
        source = np.array([index_of.get(item, -1) for item in sources], np.int64)
        return replace(data, source=source, validation=validation)

    def _validation(self, pool: Pool) -> TrainingData:
        table = pool.read(np.arange(len(pool)), ["id", self.model.kind, "label"])
        index = self.class_index or {}
        unknown = sorted(map(str, set(table["label"].to_pylist()) - index.keys()))
        if unknown:
            raise DataError(f"pool.validation has labels outside the classes: {', '.join(unknown[:5])}")
        kept = pool.embeddings
        inputs = self._payload(table, pool.folder) if kept is None else kept.read_span(0, len(pool))
        return TrainingData(
            inputs=inputs,
            on_vectors=pool.embeddings is not None,
            labels=np.array([index[label] for label in table["label"].to_pylist()], np.int64),
            n_classes=self.n_classes,
            shape=self.shape,
            n_labelled=len(table),
        )

    def _encoded(self, payload: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The payload of synthetic items, which have no kept vectors, as the model takes it."""
        encoder = self.model.kept_encoder
        if self.embeddings is None or encoder is None:
            return payload
        return np.asarray(encoder.load({}).vectors(payload), np.float32)

    def _payload(self, table: pa.Table, path: Path) -> npt.NDArray[Any]:
        """The payload of training items; raises DataError if one cannot be decoded."""
        payload, decoded = payload_of(table[self.model.kind], self.model.kind, self.shape)
        if not decoded.all():
            broken = [item for item, ok in zip(table["id"].to_pylist(), decoded, strict=True) if not ok]
            raise DataError(f"{path}: {len(broken)} training items cannot be read, first '{broken[0]}'")
        return payload


def _kept(embeddings: Embeddings, rows: Rows) -> npt.NDArray[np.float32]:
    """The kept vectors of these rows of the pool, in any order."""
    order = np.argsort(rows, kind="stable")
    vectors = np.empty((len(rows), embeddings.width), np.float32)
    vectors[order] = embeddings.read(rows[order])
    return vectors


def _none_if_all_ones(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
    return None if (weights == 1).all() else weights


def _take(data: TrainingData, mask: npt.NDArray[np.bool_], n_labelled: int) -> TrainingData:
    """The items of the mask, in order."""
    labels: Labels = data.labels[mask]
    targets = data.correction_targets
    return replace(
        data,
        inputs=data.inputs[mask],
        labels=labels,
        n_labelled=n_labelled,
        sample_weight=None if data.sample_weight is None else data.sample_weight[mask],
        correction_targets=None if targets is None else targets.take(torch.from_numpy(mask)),
    )
