"""Open the latest trained model of a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from xal.campaign.pools import Pools, open_pools
from xal.campaign.recipe import PoolSection
from xal.campaign.sampling import drawn_baselines
from xal.core.config import parse
from xal.core.imports import check_stored
from xal.data.label_space import LabelSpace
from xal.data.pool import Pool
from xal.engine import SerialEngine
from xal.engine.tasks import ModelRef
from xal.engine.worker import Worker
from xal.errors import RunError
from xal.explainers import Explainer
from xal.models import Model
from xal.store.artefacts import WEIGHTS
from xal.store.directory import open_ledger
from xal.store.ledger import Queried
from xal.types import Shape


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainedRun:
    """The latest trained model of a run, with its explainer, classes and queried items."""

    directory: Path
    round: int  # of the model
    model: Model
    explainer: Explainer
    weights: Path
    shape: Shape
    """The shape of an item as the model takes it."""
    label_space: LabelSpace
    recipe: Mapping[str, Any]
    queried: tuple[Queried, ...]

    @cached_property
    def pools(self) -> Pools:
        """The pools of the recipe; DataError if this machine cannot open them."""
        return open_pools(parse(PoolSection, self.recipe["pool"]), self.model)

    @cached_property
    def ref(self) -> ModelRef:
        """Reference to the model for engines and workers, with the baselines of its explainer."""
        baselines = None
        if self.explainer.n_baselines:
            seed = self.recipe["seed"]
            pool = self.pools.pool
            baselines = drawn_baselines(self.explainer, pool, self.shape, lambda: self.queried, seed, self.round)
        return ModelRef(
            model=self.model,
            weights=self.weights,
            version=f"{self.directory}#{self.round}",
            shape=self.shape,
            n_classes=len(self.label_space),
            baselines=baselines,
        )

    def worker(self) -> Worker:
        """A worker on this machine's CPU that has loaded the model."""
        worker = Worker(device="cpu")
        worker.classifier(self.ref)
        return worker

    @property
    def engine(self) -> SerialEngine:
        """A serial engine on this machine, with one thread per CPU."""
        stored = self.recipe["engine"]
        precision = stored.get("precision", "float32")
        return SerialEngine(device="auto", batch=stored["batch"], precision=precision, threads=os.cpu_count() or 1)

    @property
    def measured_pool(self) -> Pool:
        """The run's test pool, else its validation pool, else its pool."""
        return self.pools.measured or self.pools.pool


def open_trained_run(directory: Path, ledger_url: str | None = None) -> TrainedRun:
    """Open a run's latest model; RunError for a directory that is not a run, or a run without a model.

    ledger_url: URL of the ledger's PostgreSQL database, for the password; None: $XAL_LEDGER.
    """
    ledger = open_ledger(directory, ledger_url)
    steps, queried = ledger.steps(), ledger.queried()
    recipe, classes, shape = (
        yaml.safe_load(ledger.metadata(name) or "null") for name in ("recipe", "classes", "shape")
    )
    ledger.close()
    trained = {step.round: step for step in steps if step.step == "train" and step.artefact is not None}
    if not trained or shape is None:
        raise RunError(f"{directory} has no trained model yet; continue it with xal run")
    step = trained[max(trained)]
    check_stored(recipe, directory)
    model: Model = parse(Model, recipe["model"])
    return TrainedRun(
        directory=directory,
        round=step.round,
        model=model,
        explainer=parse(Explainer, recipe["explainer"] or model.default_explainer),
        weights=directory / (step.artefact or "") / WEIGHTS,
        shape=tuple(shape),
        label_space=LabelSpace(tuple(classes)[: step.metrics.get("n_classes", len(classes))]),
        recipe=recipe,
        queried=tuple(queried),
    )
