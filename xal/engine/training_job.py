"""A round's training as a picklable job, which runs in process or on training workers."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from safetensors.torch import save
from torch import nn

from xal.core.malloc import keep_freed_memory
from xal.core.threads import threads
from xal.data.decode import payload_of
from xal.data.embeddings import Embeddings
from xal.data.pool import Pool
from xal.engine.correction_targets import read_correction_targets
from xal.errors import DataError, XalError
from xal.feedback import Feedback
from xal.models.model import Model
from xal.models.stored_images import StoredImages
from xal.models.train_settings import TrainSettings
from xal.models.training_data import Fitted, TrainContext, TrainingData
from xal.store.artefacts import BATCH_ROWS, batches_of, count_items, read_weights
from xal.types import Labels, Rows, Shape

MEGABYTE = 2**20
DECODED_BY_THREADS = 32  # images from which on several threads decode them


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
    head_only: bool = False  # whether only a network's last linear layer is trained
    synthetic: tuple[Path, ...] = ()  # Parquet files of synthetic items: payload, source, class_index, weight
    feedback: Feedback | None = None  # how corrections change training
    correction_targets: Path | None = None  # file of correction targets, for a loss; None: no corrections yet
    validation: Pool | None = None  # validation pool for choosing the epoch, instead of `holdout`
    class_index: Mapping[str, int] | None = None  # class index by label, for the validation pool
    embeddings: Embeddings | None = None  # kept vectors of the pool's items, by their rows, for the model's head
    memory_mb: int = 2048  # training images that take more are kept in a file

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
        keep_freed_memory()
        start = None if self.start is None else read_weights(self.start)
        context = TrainContext(
            settings=self.settings,
            seed=self.seed,
            start=start,
            head_only=self.head_only,
            correction_loss=self.feedback if self.feedback is not None and self.feedback.has_loss else None,
            device=device,
            rank=rank,
            workers=workers,
            wrap=wrap,
            progress=progress,
        )
        with tempfile.TemporaryDirectory(prefix="xal-images-") as scratch, threads(self.settings.threads):
            data = self._data(Path(scratch))
            sizes = {"train_items": data.n_labelled, "synthetic_items": len(data) - data.n_labelled}
            fitted = self.model.fit(data, context)
        if not isinstance(fitted, Fitted) or not all(isinstance(array, np.ndarray) for array in fitted.arrays.values()):
            raise XalError(f"model '{self.model.name}': fit gave {type(fitted).__name__}; expected Fitted, with arrays")
        if weights is not None:
            weights.write_bytes(save({name: torch.from_numpy(array) for name, array in fitted.arrays.items()}))
        return {"validation_items": len(self.holdout), **sizes, "epochs": 1, "best_epoch": 1, **fitted.metrics}

    def _data(self, scratch: Path) -> TrainingData:
        """The training data, labelled items first, then synthetic ones, and its validation data."""
        ids: list[str] = []
        labels: list[int] = []
        sources: list[str] = []
        weights: list[Any] = []
        labelled = pa.array(list(self.labels), pa.string())

        def parts() -> Iterator[npt.NDArray[Any]]:
            for path in self.item_files:
                for table in batches_of(path, ["id", "row" if self.embeddings else self.model.kind]):
                    table = table.filter(pc.is_in(table["id"], labelled))  # others were skipped
                    ids.extend(table["id"].to_pylist())
                    kept = self.embeddings
                    yield self._payload(table, path) if kept is None else _kept(kept, table["row"].to_numpy())
            labels.extend(self.labels[item] for item in ids)
            weights.append(np.ones(len(ids)))
            for path in self.synthetic:
                for table in batches_of(path, ["id", self.model.kind, "source", "class_index", "weight"]):
                    yield self._encoded(self._payload(table, path))
                    labels.extend(table["class_index"].to_pylist())
                    sources.extend(table["source"].to_pylist())
                    weights.append(table["weight"].to_numpy())

        count = sum(map(count_items, (*self.item_files, *self.synthetic)))
        data = TrainingData(
            inputs=self._inputs(parts(), count, scratch / "train"),
            labels=np.array(labels, np.int64),
            n_classes=self.n_classes,
            shape=self.shape,
            n_labelled=len(ids),
            on_vectors=self.embeddings is not None,
            sample_weight=_none_if_all_ones(np.concatenate(weights)),
        )
        if self.feedback is not None and self.feedback.has_loss:
            width = None if "self_explaining" in self.feedback.requires else 0
            targets = read_correction_targets(self.correction_targets, ids, data.labels, self.shape, width)
            data = replace(data, correction_targets=targets)
        return self._split(data, ids, sources, scratch)

    def _inputs(self, parts: Iterable[npt.NDArray[Any]], count: int, path: Path) -> Any:
        """The parts joined in memory, or images in a file if they would take more than `memory_mb`."""
        if self._stored(count):
            return StoredImages.write(path, self.shape, parts, count)
        return np.concatenate(list(parts))

    def _stored(self, count: int) -> bool:
        streams = self.model.streams and self.model.kind == "image" and self.embeddings is None
        return streams and count * math.prod(self.shape) > self.memory_mb * MEGABYTE

    def _split(self, data: TrainingData, ids: Sequence[str], sources: Sequence[str], scratch: Path) -> TrainingData:
        """Move the holdout items to `validation`, and give each synthetic item the index of its source item."""
        held_out = np.array([item in self.holdout for item in ids] + [False] * (len(data) - len(ids)), bool)
        train_ids = [item for item in ids if item not in self.holdout]
        index_of = {item: index for index, item in enumerate(train_ids)}
        validation = self._validation(self.validation, scratch) if self.validation is not None else None
        if validation is None and held_out.any() and self.model.needs_validation:
            validation = _take(data, held_out, n_labelled=int(held_out.sum()))
        if held_out.any():
            data = _take(data, ~held_out, n_labelled=len(train_ids))
        source = np.array([index_of.get(item, -1) for item in sources], np.int64)
        return replace(data, source=source, validation=validation)

    def _validation(self, pool: Pool, scratch: Path) -> TrainingData:
        table = pool.read_span(0, len(pool), ["id", "label"])
        index = self.class_index or {}
        unknown = sorted(map(str, set(table["label"].to_pylist()) - index.keys()))
        if unknown:
            raise DataError(f"pool.validation has labels outside the classes: {', '.join(unknown[:5])}")
        kept = pool.embeddings
        if kept is None:
            parts = (
                self._payload(table.slice(start, BATCH_ROWS), pool.folder)
                for _, table in pool.scan(["id", self.model.kind])
                for start in range(0, len(table), BATCH_ROWS)
            )
            inputs = self._inputs(parts, len(pool), scratch / "validation")
        else:
            inputs = kept.read_span(0, len(pool))
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

    def _decoded(self, column: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """`payload_of` a column; images by several threads."""
        kind, workers = self.model.kind, self.settings.threads
        if kind != "image" or workers == 1 or len(column) < DECODED_BY_THREADS:
            return payload_of(column, kind, self.shape)
        edges = np.linspace(0, len(column), workers + 1).astype(int).tolist()
        parts = [column.slice(start, stop - start) for start, stop in pairwise(edges)]
        with ThreadPoolExecutor(workers) as pool:
            payloads, decoded = zip(*pool.map(lambda part: payload_of(part, kind, self.shape), parts), strict=True)
        return np.concatenate(payloads), np.concatenate(decoded)

    def _payload(self, table: pa.Table, path: Path) -> npt.NDArray[Any]:
        """The payload of training items; raises DataError if one cannot be decoded."""
        payload, decoded = self._decoded(table[self.model.kind])
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
