"""Training with Ray Train: in this process, or on workers with DDP."""

from __future__ import annotations

import json
import logging
import os
import uuid
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")

import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchTrainer, get_device, prepare_model

from xal.core.paths import arrow, remove
from xal.engine.engine import Advance
from xal.engine.ray.settings import RaySettings
from xal.engine.training_job import TrainJob

__all__ = ["RETRIES", "WorkerGroupError", "train"]
RETRIES = 3  # of a training whose worker died or raised an error


def train(engine: RaySettings, job: TrainJob, weights: Path, storage: Path, advance: Advance) -> dict[str, Any]:
    """Run the job and return its metrics; worker 0 writes weights and metrics to storage that all nodes see."""
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    workers = engine.train_workers
    scaling = ScalingConfig(
        num_workers=workers,
        use_gpu=engine.train_gpus > 0,
        resources_per_worker={"CPU": engine.train_cpus, **({"GPU": engine.train_gpus} if engine.train_gpus else {})},
    )
    config: dict[str, Any] = {"job": job, "weights": weights, "workers": workers}
    if not workers:
        config["advance"] = advance
    storage_path, filesystem = arrow(storage.resolve())
    name = f"xal-{uuid.uuid4().hex}"  # unique, since Ray Train would silently resume a name used before
    trainer = TorchTrainer(
        _loop,
        train_loop_config=config,
        scaling_config=scaling,
        run_config=RunConfig(
            name=name,
            storage_path=storage_path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=RETRIES if workers else 0),
        ),
    )
    try:
        trainer.fit()
    finally:
        remove(storage / name)  # files of Ray Train
    file = _metrics_file(weights)  # Ray Train would return metrics only with a checkpoint of its own
    metrics: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    file.unlink()
    return metrics


def _metrics_file(weights: Path) -> Path:
    return weights.with_suffix(".json")


def _loop(config: dict[str, Any]) -> None:
    job: TrainJob = config["job"]
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    metrics = job.run(
        config["weights"] if rank == 0 else None,
        device=str(get_device()),
        rank=rank,
        workers=world,
        wrap=(lambda module: prepare_model(module)) if config["workers"] else (lambda module: module),
        progress=config.get("advance", lambda done, total: None),
    )
    if rank == 0:
        _metrics_file(config["weights"]).write_text(json.dumps(metrics), encoding="utf-8")
    ray.train.report({})
