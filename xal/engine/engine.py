"""Who executes. An engine is a configuration; `open` starts a session that runs passes and training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from xal.core.registry import Component
from xal.data.pool import Pool
from xal.data.sharding import Reader, Shard, shards
from xal.engine.tasks import ShardResult, ShardTask
from xal.engine.training_job import TrainJob
from xal.models.model import Precision
from xal.types import Rows, Shape

Advance = Callable[[int, int], None]
"""Called with (items done, items in all)."""
SHARD_BYTES = 64 * 2**20
"""Decoded payload of a unit, at most (but never less than a batch)."""
SHARDS_PER_SLOT = 32
"""Enough for progress and for lanes to end together; more only where units of 16 batches or UNIT_BYTES say so."""
EXPENSIVE_BATCHES = 4
"""Of a unit whose items are explained, at most: that may take a while, and a lost unit should not be much work."""
S = TypeVar("S")


def shard_batches(items: int, batch: int, slots: int, item_bytes: int) -> int:
    """Batches of a unit: each costs the driver the same, so units grow with the pool, up to UNIT_BYTES."""
    wanted = max(16, items // (batch * slots * SHARDS_PER_SLOT))
    return max(1, min(wanted, SHARD_BYTES // (batch * item_bytes), items // (batch * slots)))


def silent(done: int, total: int) -> None:
    """No progress."""


@dataclass(frozen=True, kw_only=True)
class Engine(Component, family="engine"):
    """Base of the engines. `batch`, `threads`, `precision` and `compiled` decide rounding, all else where it runs."""

    batch: Annotated[int, Field(ge=1)] = 256
    """Items a forward; another size may move ids that rounding ties."""
    threads: Annotated[int, Field(ge=1)] = 1
    """CPU threads of each scoring process."""
    precision: Precision = "float32"
    """bfloat16: predictions and explanations under autocast, faster where the hardware has it, and coarser."""
    compiled: bool = False
    """Forwards by torch.compile: wants a C++ compiler and a minute; worth it for long passes."""

    max_failures: Annotated[int, Field(ge=0)] = 100
    """Items of a pool that may be left out since scoring fails on them, even on each alone; more end the run."""

    @abstractmethod
    def open(self) -> Session:
        """Start; close the session when done (it is a context manager)."""


class Session(ABC):
    """A started engine."""

    engine: Engine

    def run(
        self,
        pool: Pool,
        task: ShardTask,
        *,
        shape: Shape | None = None,
        rows: Rows | None = None,
        exclude: Sequence[str] = (),
        advance: Advance = silent,
    ) -> Iterator[ShardResult]:
        """Do `work` on the pool, or on the sorted `rows` of it, without the ids in `exclude`; in no given order."""
        batch = self.engine.batch
        total = len(pool) if rows is None else len(rows)
        item_bytes = int(np.prod(shape)) if shape and task.needs else 1
        batches, expensive = shard_batches(total, batch, self.slots, item_bytes), "explanations" in task.needs
        batches = min(batches, EXPENSIVE_BATCHES) if expensive else batches
        if task.n_batches is not None:
            batches, expensive = task.n_batches, False
        own_words = task.needs == {"interpretable_input"} and "words" in pool.columns
        reader = Reader(
            pool=pool,
            payload=bool(task.needs) and not own_words,
            words=own_words,
            labels=task.labels,
            shape=shape,
            batch=batch,
            exclude=pa.array(exclude, pa.string()) if len(exclude) else None,
        )
        total = max(total - len(exclude), 1) if rows is None else total
        done = 0
        plan = shards(len(pool), rows, batch, batches, self.slots if expensive else None)
        for result in self.execute(reader, task, plan):
            done += result.items
            advance(min(done, total), total)
            yield result

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many units can run at once."""

    @abstractmethod
    def execute(self, reader: Reader, task: ShardTask, plan: list[Shard]) -> Iterator[ShardResult]:
        """Every unit once, in no given order."""

    @abstractmethod
    def train(self, job: TrainJob, weights: Path, advance: Advance = silent) -> dict[str, Any]:
        """Run the job, write its weights, return its figures."""

    def parallel(self, function: Callable[[S], Any], specs: Sequence[S]) -> Iterator[tuple[S, Any]]:
        """Apply `function` to each spec, side by side as far as resources allow; yields as they end.

        A spec whose function raised an XalError yields the error.
        """
        raise NotImplementedError

    @property
    def parallel_slots(self) -> int:
        """How many whole campaigns can run side by side; 1: run them here, one after the other."""
        return 1

    def warm(self) -> None:  # noqa: B027 (nothing loads slowly, unless a subclass says so)
        """Begin to start what the first pass will need."""

    def close(self) -> None:  # noqa: B027 (nothing was started, unless a subclass says so)
        """Give back what was started."""

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
