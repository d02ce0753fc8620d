"""A round's training as a job: small, picklable, the same in process and on workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from safetensors.torch import load, save
from threadpoolctl import threadpool_limits
from torch import nn

from xal.data.payloads import payload_of
from xal.data.pool import Pool
from xal.engine.guidance import read_guidance
from xal.engine.work import threads
from xal.errors import DataError, XalError
from xal.feedback import Feedback
from xal.models.model import Model, Shape
from xal.models.shallow import Extra, Shallow
from xal.models.training import Examples, TrainSettings, evaluate_hits, fit
from xal.store.artefacts import read_items


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """Train `model` on labelled items and write its best weights."""

    model: Model
    shape: Shape
    classes: int
    payloads: tuple[Path, ...]  # Parquet files with columns id and the payload
    labels: Mapping[str, int]
    holdout: frozenset[str]  # ids of the validation split
    settings: TrainSettings
    seed: int
    start: Path | None = None  # weights to fine-tune; None: from scratch
    synthetic: tuple[Path, ...] = ()  # Parquet files of items that are no labels: payload, class_index, weight
    feedback: Feedback | None = None  # what learns from corrections
    guidance: Path | None = None  # what the corrections say, for a loss; None: there are none yet
    validation: Pool | None = None  # a pool of its own to choose the epoch by, instead of `holdout`
    class_index: Mapping[str, int] | None = None  # by label, for that pool

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
        if isinstance(self.model, Shallow):
            return self._shallow(self.model, weights, workers)
        with threads(self.settings.threads):
            model = self.model if self.start is None else self.model.untrained()
            module = model.create(self.shape, self.classes, self.seed)
            if self.start is not None:
                module.load_state_dict(load(self.start.read_bytes()))
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
                teacher=self.feedback if self.feedback is not None and self.feedback.guides else None,
            )
            module.load_state_dict(fitted.state)
            right = evaluate_hits(self.model, module, train, len(train) - synthetic)
        if weights is not None:
            weights.write_bytes(save(fitted.state))
        return {
            "train_items": len(train) - synthetic,
            "synthetic_items": synthetic,
            "train_accuracy": right / max(len(train) - synthetic, 1),
            "validation_items": len(validation),
            "epochs": len(fitted.train_loss),
            "best_epoch": fitted.best_epoch,
            "train_loss": fitted.train_loss[-1],
            "validation_loss": min(fitted.validation_loss) if fitted.validation_loss else None,
            "decays": fitted.decays,
        }

    def _shallow(self, model: Shallow, weights: Path | None, workers: int) -> dict[str, Any]:
        if workers > 1:
            raise XalError(f"engine.train_workers: model '{model.name}' is trained by one process; set it to 0 or 1")
        ids, payload, labels = self._texts_or_features(model)
        extra = self._extra(model, ids)
        with threadpool_limits(self.settings.threads):  # sums in another order would be other weights
            state, psi = model.train(payload, labels, self.classes, self.seed, extra)
        if weights is not None:
            weights.write_bytes(
                save({name: torch.from_numpy(np.array(value, order="C")) for name, value in state.items()})
            )
        return {
            "train_items": len(labels),
            "synthetic_items": 0 if extra is None else len(extra.labels),
            "validation_items": len(self.holdout),
            "epochs": 1,
            "best_epoch": 1,
            "psi": psi,
            "calibrated": "platt.a" in state,
        }

    def _texts_or_features(self, model: Shallow) -> tuple[list[str], npt.NDArray[Any], npt.NDArray[np.int64]]:
        ids: list[str] = []
        parts = []
        for path in self.payloads:
            table = read_items(path, ["id", model.kind])
            table = table.filter(pa.array([item not in self.holdout for item in table["id"].to_pylist()]))
            parts.append(self._payload(table, path))
            ids += table["id"].to_pylist()
        return ids, np.concatenate(parts), np.array([self.labels[item] for item in ids], np.int64)

    def _extra(self, model: Shallow, ids: Sequence[str]) -> Extra | None:
        """Synthetic items; None: there are none."""
        tables = [read_items(path, [model.kind, "source", "class_index", "weight"]) for path in self.synthetic]
        tables = [table for table in tables if len(table)]
        if not tables:
            return None
        place = {item: number for number, item in enumerate(ids)}
        return Extra(
            payload=np.concatenate([self._payload(table, self.synthetic[0]) for table in tables]),
            labels=np.concatenate([table["class_index"].to_numpy() for table in tables]).astype(np.int64),
            weights=np.concatenate([table["weight"].to_numpy() for table in tables]).astype(np.float64),
            source=np.array(
                [place.get(item, -1) for table in tables for item in table["source"].to_pylist()], np.int64
            ),
        )

    def _examples(self) -> tuple[Examples, Examples, int]:
        """(training items, validation items, how many of the former are synthetic)."""
        ids: list[str] = []
        parts: list[Examples] = []
        for path in self.payloads:
            table = read_items(path, ["id", self.model.kind])
            names = table["id"].to_pylist()
            ids += names
            parts.append(self._examples_of(table, [self.labels[item] for item in names], path))
        synthetic = 0
        for path in self.synthetic:
            table = read_items(path, ["id", self.model.kind, "class_index", "weight"])
            part = self._examples_of(table, table["class_index"].to_pylist(), path)
            weights = torch.from_numpy(np.array(table["weight"].to_numpy(), np.float32))
            parts.append(part if (weights == 1).all() else replace(part, weights=weights))
            synthetic += len(part)
        held = torch.tensor([item in self.holdout for item in ids] + [False] * synthetic)
        train = Examples.concatenate(parts)
        if self.feedback is not None and self.feedback.guides:
            width = None if "self_explaining" in self.feedback.wants else 0
            train = replace(train, guidance=read_guidance(self.guidance, ids, train, width))
        del parts  # or images would be held twice
        validation = train.take(held) if self.validation is None else self._validation(self.validation)
        return train.take(~held) if held.any() else train, validation, synthetic

    def _validation(self, pool: Pool) -> Examples:
        table = pool.read(np.arange(len(pool)), ["id", self.model.kind, "label"])
        index = self.class_index or {}
        unknown = sorted(map(str, set(table["label"].to_pylist()) - index.keys()))
        if unknown:
            raise DataError(f"pool.validation has labels outside the classes: {', '.join(unknown[:5])}")
        return self._examples_of(table, [index[label] for label in table["label"].to_pylist()], pool.folder)

    def _examples_of(self, table: pa.Table, classes: Sequence[int], path: Path) -> Examples:
        return Examples(
            images=torch.from_numpy(np.require(self._payload(table, path), requirements="W")),
            labels=torch.tensor(classes, dtype=torch.int64),
        )

    def _payload(self, table: pa.Table, path: Path) -> npt.NDArray[Any]:
        """Of training items; DataError where one cannot be used."""
        payload, good = payload_of(table[self.model.kind], self.model.kind, self.shape)
        if not good.all():
            broken = [item for item, fine in zip(table["id"].to_pylist(), good, strict=True) if not fine]
            raise DataError(f"{path}: {len(broken)} training items cannot be read, first '{broken[0]}'")
        return payload
