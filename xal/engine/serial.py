"""The serial engine: one process, no Ray. The Ray engine must give the same queries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from xal.core.malloc import keep_freed_memory
from xal.data.sharding import Reader, Shard
from xal.engine.engine import Advance, Engine, Session, silent
from xal.engine.tasks import ShardResult, ShardTask
from xal.engine.training_job import TrainJob
from xal.engine.worker import Worker, pick_device
from xal.errors import ResourceError


@dataclass(frozen=True, kw_only=True)
class SerialEngine(Engine, name="serial"):
    """Runs everything in this process."""

    device: str = "cpu"
    """cpu, cuda, cuda:N, or auto (a GPU if there is one)."""

    def problems(self) -> list[str]:
        """A device that torch does not know or this machine does not have."""
        try:
            torch.empty(0, device=pick_device(self.device))
        except ResourceError as error:
            return [str(error)]
        except (RuntimeError, AssertionError, ValueError):
            return [f"engine.device: expected cpu, cuda, cuda:N or auto, got '{self.device}'"]
        return []

    def open(self) -> SerialSession:
        """Start a session; raises ResourceError if `device` is a GPU that is not there."""
        return SerialSession(self)


class SerialSession(Session):
    """One worker in this process."""

    def __init__(self, engine: SerialEngine) -> None:
        keep_freed_memory()
        self.engine: SerialEngine = engine
        self.worker = Worker(engine.device, engine.threads, engine.precision, engine.compiled)

    @property
    def slots(self) -> int:
        """Always 1."""
        return 1

    def execute(self, reader: Reader, task: ShardTask, plan: list[Shard]) -> Iterator[ShardResult]:
        """Run the shards in order."""
        for shard in plan:
            yield self.worker.run(task, reader(shard))

    def train(self, job: TrainJob, weights: Path, advance: Advance = silent) -> dict[str, Any]:
        """Train in this process, on `device`."""
        return job.run(weights, device=pick_device(self.engine.device), progress=advance)
