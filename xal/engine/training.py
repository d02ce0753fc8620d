"""A round's training as a job: small, picklable, the same in process and on workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from xal.data.images import decode
from xal.data.pool import Pool
from xal.engine.work import threads
from xal.errors import DataError
from xal.models.model import Model, Shape
from xal.models.training import Examples, TrainSettings, fit


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """Train `model` on labelled images and write its best weights."""

    model: Model
    shape: Shape
    classes: int
    payloads: tuple[Path, ...]  # Parquet files with columns id, image
    labels: Mapping[str, int]
    holdout: frozenset[str]  # ids of the validation split
    settings: TrainSettings
    seed: int
    start: Path | None = None  # weights to fine-tune; None: from scratch
    synthetic: Path | None = None  # Parquet file with columns id, image, class_index: items that are no labels
    validation: Pool | None = None  # a pool of its own to choose the epoch by, besides the items of `holdout`
    class_index: Mapping[str, int] | None = None  # by label, for that pool
    device: str = "cpu"

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
        """Train; write `weights` (safetensors) unless None; return the figures of the fit."""
        with threads(self.settings.threads):
            model = self.model if self.start is None else self.model.untrained()
            module = model.create(self.shape, self.classes, self.seed)
            if self.start is not None:
                module.load_state_dict(load_file(self.start))
            train, validation, synthetic = self._examples()
            fitted = fit(
                self.model,
                module.to(device),
                train,
                validation,
                self.settings,
                seed=self.seed,
                finetune=self.start is not None,
                rank=rank,
                workers=workers,
                wrap=wrap,
                progress=progress,
            )
        if weights is not None:
            save_file(fitted.state, weights)
        return {
            "train_items": len(train) - synthetic,
            "synthetic_items": synthetic,
            "validation_items": len(validation),
            "epochs": len(fitted.train_loss),
            "best_epoch": fitted.best_epoch,
            "train_loss": fitted.train_loss[-1],
            "validation_loss": min(fitted.validation_loss) if fitted.validation_loss else None,
            "decays": fitted.decays,
        }

    def _examples(self) -> tuple[Examples, Examples, int]:
        """(training items, validation items, how many of the former are synthetic)."""
        parts = [_read(pq.read_table(path, columns=["id", "image"]), self.shape, path) for path in self.payloads]
        ids = [item for names, _ in parts for item in names]
        images = torch.from_numpy(np.concatenate([pixels for _, pixels in parts]))
        labels = torch.tensor([self.labels[item] for item in ids])
        held = torch.tensor([item in self.holdout for item in ids])
        train = Examples(images=images[~held], labels=labels[~held])
        validation = Examples(images=images[held], labels=labels[held])
        synthetic = 0
        if self.synthetic is not None:
            table = pq.read_table(self.synthetic, columns=["id", "image", "class_index"])
            copies = _examples_of(table, table["class_index"].to_pylist(), self.shape, self.synthetic)
            train, synthetic = train.with_more(copies), len(copies)
        if self.validation is not None:
            table = self.validation.read(np.arange(len(self.validation)), ["id", "image", "label"])
            index = self.class_index or {}
            unknown = sorted(set(table["label"].to_pylist()) - index.keys())
            if unknown:
                raise DataError(
                    f"the validation pool has labels outside the classes: {', '.join(map(str, unknown[:5]))}"
                )
            classes = [index[label] for label in table["label"].to_pylist()]
            validation = validation.with_more(_examples_of(table, classes, self.shape, self.validation.folder))
        return train, validation, synthetic


def _examples_of(table: pa.Table, classes: Sequence[int], shape: Shape, path: Path) -> Examples:
    _, pixels = _read(table, shape, path)
    return Examples(images=torch.from_numpy(pixels), labels=torch.tensor(classes, dtype=torch.int64))


def _read(table: pa.Table, shape: Shape, path: Path) -> tuple[list[str], np.ndarray[Any, Any]]:
    """(ids, (n, c, h, w) pixels); DataError where an image cannot be read."""
    ids = table["id"].to_pylist()
    pixels, good = decode(table["image"].to_pylist(), shape)
    if not good.all():
        broken = [item for item, fine in zip(ids, good, strict=True) if not fine]
        raise DataError(f"{path}: {len(broken)} training images cannot be read, first '{broken[0]}'")
    return ids, pixels
