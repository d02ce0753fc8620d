"""A round's training as a job: small, picklable, the same in process and on workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from xal.data.images import decode
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
            train, validation = self._examples()
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
            "train_items": len(train),
            "validation_items": len(validation),
            "epochs": len(fitted.train_loss),
            "best_epoch": fitted.best_epoch,
            "train_loss": fitted.train_loss[-1],
            "validation_loss": min(fitted.validation_loss) if fitted.validation_loss else None,
            "decays": fitted.decays,
        }

    def _examples(self) -> tuple[Examples, Examples]:
        ids: list[str] = []
        images: list[np.ndarray[Any, Any]] = []
        for path in self.payloads:
            table = pq.read_table(path, columns=["id", "image"])
            part, good = decode(table["image"].to_pylist(), self.shape)
            if not good.all():
                broken = [item for item, fine in zip(table["id"].to_pylist(), good, strict=True) if not fine]
                raise DataError(f"{path}: {len(broken)} labelled images cannot be read, first '{broken[0]}'")
            ids += table["id"].to_pylist()
            images.append(part)
        stack = torch.from_numpy(np.concatenate(images))
        labels = torch.tensor([self.labels[item] for item in ids])
        held = torch.tensor([item in self.holdout for item in ids])
        return (
            Examples(images=stack[~held], labels=labels[~held]),
            Examples(images=stack[held], labels=labels[held]),
        )
