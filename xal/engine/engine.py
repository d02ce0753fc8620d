"""Base classes of the engines. An engine is a configuration; `open` starts a session that runs passes and training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
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
"""Progress callback, called with (items done, total items)."""
SHARD_BYTES = 64 * 2**20
"""Largest decoded payload of a shard, in bytes; a shard has at least one batch."""
SHARDS_PER_SLOT = 32
"""Target shards per slot: enough for progress reports and even finishing. There are fewer where shards would have
less than 16 batches, and more where they would exceed SHARD_BYTES."""
VECTORS_PER_BATCH = 4096
"""Least size of a batch of kept vectors: a head is so fast that small batches would cost more than it."""
EXPENSIVE_BATCHES = 4
"""Largest shard whose items are explained, in batches: explaining is slow, and a lost shard is computed again."""
S = TypeVar("S")


def shard_batches(items: int, batch: int, slots: int, item_bytes: int) -> int:
    """Batches per shard: each shard costs the driver the same, so shards grow with the pool, up to SHARD_BYTES."""
    target = max(16, items // (batch * slots * SHARDS_PER_SLOT))
    return max(1, min(target, SHARD_BYTES // (batch * item_bytes), items // (batch * slots)))


def silent(done: int, total: int) -> None:
    """A progress callback that does nothing."""


@dataclass(frozen=True, kw_only=True)
class Engine(Component, family="engine"):
    """Base of the engines.

    `batch`, `threads`, `precision` and `compiled` affect rounding; the other fields only decide where things run.
    """

    batch: Annotated[int, Field(ge=1, le=10**6)] = 256
    """Items per forward pass; another size may reorder items whose scores are equal up to rounding."""
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    """CPU threads of each scoring process."""
    precision: Precision = "float32"
    """bfloat16: predict and explain under autocast, which is faster on hardware that has it, and less exact."""
    train_memory_mb: Annotated[int, Field(ge=1, le=2**31)] = 2048
    """Decoded training images that take more than this are kept in a file in $TMPDIR and read batch by batch, which
    gives the same weights."""
    compiled: bool = False
    """Use torch.compile; it needs a C++ compiler and takes about a minute, so it pays off only for long passes."""

    max_failures: Annotated[int, Field(ge=0)] = 100
    """Items that may fail when they are scored, even one by one; they are left out. More failures end the run."""

    def problems(self) -> list[str]:
        """What keeps the engine from running on this machine; checked before a campaign starts."""
        return []

    @abstractmethod
    def open(self) -> Session:
        """Start a session. Close it when done, or use it as a context manager."""


class Session(ABC):
    """A started engine: runs passes and training."""

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
        """Run `task` on the pool, or on the sorted `rows` of it, without the ids in `exclude`.

        Yields one result for each shard, in any order.
        """
        batch = self.engine.batch
        total = len(pool) if rows is None else len(rows)
        item_bytes = int(np.prod(shape)) if shape and task.needs else 1
        from_vectors = {"probabilities", "embeddings", "contrastive", "sampled_probabilities"}
        if task.explainer is not None and task.explainer.of_embeddings:
            from_vectors |= {"explanations"}
        if task.model is None:  # without a head, kept vectors are all there is
            from_vectors = {"embeddings"} if task.encoder is None else set()
        vectors = pool.embeddings if task.needs <= from_vectors else None
        if vectors is not None:
            task, item_bytes, batch = replace(task, on_vectors=True), 4 * vectors.width, max(batch, VECTORS_PER_BATCH)
        batches, expensive = shard_batches(total, batch, self.slots, item_bytes), "explanations" in task.needs
        batches = min(batches, EXPENSIVE_BATCHES) if expensive else batches
        if task.n_batches is not None:
            batches, expensive = task.n_batches, False
        words = task.needs == {"interpretable_input"} and "words" in pool.columns
        reader = Reader(
            pool=pool,
            payload=bool(task.needs) and not words,
            words=words,
            vectors=vectors if task.needs else None,
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
        """Number of shards that can run at once."""

    @abstractmethod
    def execute(self, reader: Reader, task: ShardTask, plan: list[Shard]) -> Iterator[ShardResult]:
        """Run the task once on every shard of the plan; yields the results in any order."""

    @abstractmethod
    def train(self, job: TrainJob, weights: Path, advance: Advance = silent) -> dict[str, Any]:
        """Run the job, write its weights and return its metrics."""

    def parallel(self, function: Callable[[S], Any], specs: Sequence[S]) -> Iterator[tuple[S, Any]]:
        """Apply `function` to each spec in parallel, as far as resources allow.

        Yields (spec, result) as calls finish; the result is the error where the function raised an XalError.
        """
        raise NotImplementedError

    @property
    def parallel_slots(self) -> int:
        """Number of campaigns that can run at once; 1: run them in this process, one after the other."""
        return 1

    def warm(self) -> None:  # noqa: B027 (optional to override)
        """Start in the background what the first pass needs."""

    def close(self) -> None:  # noqa: B027 (optional to override)
        """Release what the session started."""

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
