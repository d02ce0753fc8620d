"""A Ray session: Ray Data reads and decodes shards, and long-lived actors run the tasks on the resulting blocks.

The references of blocks go from Ray Data straight to the actors; the driver only receives shard results. There are two
shortcuts: actors read a few selected rows themselves, which takes less time than Ray Data needs to start, and tasks
that need no model run where the shard is read. Ray reads lost blocks again and restarts lost actors; their calls are
submitted again (`actor_pool.py`).
"""

from __future__ import annotations

import math
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import logging

import numpy as np
import ray
import ray.data
from ray.autoscaler.sdk import request_resources
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayTaskError, WorkerCrashedError

from xal import errors
from xal.core.failures import file_size_limit, known_error
from xal.core.imports import folders
from xal.core.interrupts import keeping_handlers, uninterrupted
from xal.core.malloc import keep_freed_memory
from xal.core.paths import remote
from xal.data.sharding import Block, Reader, Shard
from xal.engine.engine import Advance, Session, silent
from xal.engine.ray.actor_pool import ActorPool, UnreadBlock, columns_of, fetched, plain_errors, unread_blocks
from xal.engine.ray.private import private_directories
from xal.engine.ray.private_folder import close_to_others, private_folder, stop_private_ray, watch
from xal.engine.ray.settings import RaySettings
from xal.engine.ray.training import RETRIES, WorkerGroupError, train
from xal.engine.tasks import ShardResult, ShardTask
from xal.engine.training_job import TrainJob
from xal.engine.worker import Worker
from xal.errors import ResourceError, XalError

S = TypeVar("S")
FEW_BYTES = 16 * 2**20  # decoded bytes of selected rows, up to which the actors read them themselves
TEXT_BYTES = 1024  # estimated size of a text
CONNECT_S = 10  # to wait for a cluster's address to answer
DRIVER_IDS = 2**20  # up to this many ids, score in the driver


class RaySession(Session):
    """Joins or starts Ray, and keeps the scoring actors through all passes."""

    def __init__(self, engine: RaySettings) -> None:
        self.engine: RaySettings = engine
        self._started_ray = not ray.is_initialized()
        if self._started_ray:
            with keeping_handlers():
                _init(engine)
        try:
            self._check()
        except BaseException:
            self.close()
            raise
        context = ray.data.DataContext.get_current()
        context.target_max_block_size = None  # one block per shard; splitting a block would change its batches
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        self._actors: list[Any] = []

    @property
    def slots(self) -> int:
        """The number of actors."""
        return self.engine.actors

    @property
    def parallel_slots(self) -> int:
        """Number of campaigns that fit on the cluster; each needs its actors, and two CPUs to run and to read."""
        resources, engine = ray.cluster_resources(), self.engine
        cpus = 2 + engine.actors * engine.actor_cpus + engine.train_workers * engine.train_cpus
        slots = int(resources.get("CPU", 0) // cpus)
        gpus = engine.actors * engine.actor_gpus + max(engine.train_workers, 1) * engine.train_gpus
        if gpus:
            slots = min(slots, int(resources.get("GPU", 0) // gpus))
        return max(1, min(slots, engine.parallel_runs or slots))

    def execute(self, reader: Reader, task: ShardTask, plan: list[Shard]) -> Iterator[ShardResult]:
        """Run the task on all shards; yields the results as they finish."""
        if not plan:
            return
        if task.without_model:
            yield from self._execute_in_tasks(reader, task, plan)
            return
        self.warm()
        pool = ActorPool(self._actors, task)
        in_actors = reader.vectors is not None or _is_small(reader, plan)  # nothing to decode, or too little
        for block in unread_blocks(reader, plan) if in_actors else _blocks(reader, plan):
            yield from pool.give(block)
        yield from pool.finish()

    def _execute_in_tasks(self, reader: Reader, task: ShardTask, plan: list[Shard]) -> Iterator[ShardResult]:
        """Without a model: run each shard in the Ray task that reads it, or in the driver if there are few ids."""
        if not task.needs and sum(shard.stop - shard.start for shard in plan) <= DRIVER_IDS:
            worker = Worker("cpu", self.engine.threads)
            yield from (worker.run(task, reader(shard)) for shard in plan)
            return
        shared, threads = ray.put((reader, task, plan)), self.engine.threads

        def score(index: int) -> ShardResult:
            read, shard_task, shards = fetched(shared)
            return Worker("cpu", threads).run(shard_task, read(shards[index]))

        for _, result in _in_tasks(score, range(len(plan)), int(ray.cluster_resources()["CPU"]), cpus=0.5):
            if isinstance(result, XalError):
                raise result
            yield result

    def train(self, job: TrainJob, weights: Path, advance: Advance = silent) -> dict[str, Any]:
        """Train with Ray Train, in this process or on workers; raises ResourceError if workers keep failing."""
        engine = self.engine
        gpus = engine.actors * engine.actor_gpus + max(engine.train_workers, 1) * engine.train_gpus
        if engine.train_gpus and gpus > ray.cluster_resources().get("GPU", 0):
            self._stop_actors()  # training would wait for their GPUs
        with tempfile.TemporaryDirectory() as scratch:
            storage = weights.parent if engine.train_workers else Path(scratch)
            try:
                with plain_errors(final=True):
                    return train(engine, job, weights, storage, advance)
            except WorkerGroupError as error:
                if not engine.train_workers:
                    raise
                reason = "; ".join(str(failure).strip().splitlines()[-1] for failure in error.worker_failures.values())
                raise ResourceError(f"training failed {1 + RETRIES} times, last: {reason}") from error

    def parallel(self, function: Callable[[S], Any], specs: Sequence[S]) -> Iterator[tuple[S, Any]]:
        """Apply `function` to each spec in a Ray task; yields (spec, result or XalError) as they finish."""
        yield from _in_tasks(function, specs, self.parallel_slots)

    def close(self) -> None:
        """Stop the actors, and Ray if this session started it."""
        with uninterrupted():
            self._stop_actors()
            if self._started_ray and ray.is_initialized():
                stop_private_ray()
                ray.shutdown()

    def _stop_actors(self) -> None:
        for actor in getattr(self, "_actors", []):
            ray.kill(actor)
        self._actors = []

    def _check(self) -> None:
        """Raise ResourceError if the cluster is too small, after waiting `wait_s` seconds for it to grow."""
        problem = _shortage(self.engine, ray.cluster_resources())
        if problem and self.engine.wait_s:
            deadline = time.monotonic() + self.engine.wait_s
            try:
                while problem and time.monotonic() < deadline:
                    # repeated, since a cluster has one request, which other drivers overwrite
                    request_resources(bundles=_bundles(self.engine))
                    time.sleep(1)
                    problem = _shortage(self.engine, ray.cluster_resources())
            finally:
                request_resources(bundles=[])  # from now on, running actors and workers keep the nodes
        if problem:
            raise ResourceError(f"engine: {problem}")

    def warm(self) -> None:
        """Start the actors in the background."""
        if self._actors:
            return
        engine = self.engine
        remote = ray.remote(num_cpus=engine.actor_cpus, num_gpus=engine.actor_gpus)(_Actor)
        options = remote.options(max_restarts=-1, max_task_retries=0)  # ActorPool retries, and knows when to stop
        device = "cuda" if engine.actor_gpus else "cpu"
        settings = (device, engine.threads, engine.precision, engine.compiled)
        self._actors = [options.remote(*settings) for _ in range(engine.actors)]


class _Actor:
    """A worker in an actor, which Ray restarts when it dies."""

    def __init__(self, *settings: Any) -> None:
        keep_freed_memory()
        self.worker = Worker(*settings)

    def ready(self) -> None:
        """Return once the actor has started."""

    def run(self, task: ShardTask, block: Any, start: int, stop: int | None) -> ShardResult:
        """Run the task on rows start..stop-1 of a block."""
        columns = columns_of(block)
        _raise_error(columns)
        if start or stop is not None:
            columns = {name: values[start:stop] for name, values in columns.items()}
        return self.worker.run(task, columns)


def _in_tasks(
    function: Callable[[S], Any], specs: Iterable[S], at_once: int, cpus: float = 1
) -> Iterator[tuple[S, Any]]:
    """Apply the function to each spec in a Ray task; yields (spec, result or XalError) as they finish."""
    task = ray.remote(num_cpus=cpus, max_retries=RETRIES)(function)  # retried if its process dies
    todo = iter(specs)
    running = {task.remote(spec): spec for spec in islice(todo, at_once)}
    while running:
        (done,), _ = ray.wait(list(running), num_returns=1)
        spec = running.pop(done)
        running |= {task.remote(next_spec): next_spec for next_spec in islice(todo, 1)}
        try:
            result = ray.get(done)
        except RayTaskError as error:
            result = known_error(error.cause)
            if result is None:
                raise
        except (WorkerCrashedError, NodeDiedError, OutOfMemoryError) as error:
            result = ResourceError(
                f"the process died {RETRIES + 1} times on the same task ({type(error).__name__}); run again"
            )
        yield spec, result


def _raise_error(columns: Block) -> None:
    """Raise the error that a read task put into its block."""
    if "error" in columns:
        kind, message = columns["error"]
        raise getattr(errors, str(kind))(str(message))


def _is_small(reader: Reader, plan: list[Shard]) -> bool:
    """Whether the plan selects so few rows that the actors read them sooner than Ray Data starts."""
    n_rows = sum(0 if shard.rows is None else len(shard.rows) for shard in plan)
    item_bytes = math.prod(reader.shape or (TEXT_BYTES,))
    return 0 < n_rows * item_bytes <= FEW_BYTES and not remote(reader.pool.folder)


def _blocks(reader: Reader, plan: list[Shard]) -> Iterator[Any]:
    """References to the blocks of the plan's shards, read by Ray Data with backpressure."""
    shared = ray.put((reader, plan))

    def read(indices: Block) -> Block:
        (index,) = indices["id"]
        try:
            return UnreadBlock(shared, int(index)).read()
        except XalError as error:  # raised by the actor instead, since Ray Data prints all tracebacks
            return {"error": np.array([type(error).__name__, str(error)], object)}

    dataset = ray.data.range(len(plan), override_num_blocks=len(plan)).map_batches(
        read, batch_size=None, batch_format="numpy"
    )
    with plain_errors(final=True):
        for bundle in dataset.iter_internal_ref_bundles():
            yield from bundle.block_refs


def _shortage(engine: RaySettings, resources: dict[str, float]) -> str:
    """What the cluster has too little of, "" if it is large enough; actors must leave one CPU for reading."""
    cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
    needed = engine.actors * engine.actor_cpus + 1
    if needed > cpus:
        return (
            f"{engine.actors} actors of {engine.actor_cpus:g} CPUs and one CPU for reading need "
            f"{needed:g} CPUs, the cluster has {cpus:g}; lower engine.actors or engine.actor_cpus"
        )
    training = engine.actors * engine.actor_cpus + engine.train_workers * engine.train_cpus
    if engine.train_workers and training > cpus:
        return (
            f"{engine.train_workers} training workers of {engine.train_cpus:g} CPUs beside the actors need "
            f"{training:g} CPUs, the cluster has {cpus:g}; lower engine.train_workers or engine.train_cpus"
        )
    needed = max(engine.actors * engine.actor_gpus, max(engine.train_workers, 1) * engine.train_gpus)
    if needed > gpus:
        return (
            f"{needed:g} GPUs are asked for, the cluster has {gpus:g}; "
            "set engine.actor_gpus and engine.train_gpus to 0 to run on CPUs"
        )
    return ""


def _bundles(engine: RaySettings) -> list[dict[str, float]]:
    """The autoscaler's request: a CPU for reading, actors, training workers, and GPUs that training needs besides."""
    actor = {"CPU": engine.actor_cpus, "GPU": engine.actor_gpus}
    more = max(engine.train_workers, 1) * engine.train_gpus - engine.actors * engine.actor_gpus
    gpus = [{"GPU": 1.0}] * math.ceil(max(more, 0))
    bundles = [{"CPU": 1.0}, *[actor] * engine.actors, *[{"CPU": engine.train_cpus}] * engine.train_workers, *gpus]
    return [{name: amount for name, amount in bundle.items() if amount} for bundle in bundles]


def _init(engine: RaySettings) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "configure_logging": True}
    if folders():  # of modules beside the recipe
        path = os.pathsep.join([*folders(), *filter(None, [os.environ.get("PYTHONPATH")])])
        quiet["runtime_env"] = {"env_vars": {"PYTHONPATH": path}}
    if engine.address is not None:
        _check_address(engine.address)
        try:
            ray.init(address=engine.address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ResourceError(f"engine.address: no Ray cluster answers at '{engine.address}' ({error})") from error
        return
    folder = private_folder()
    try:
        with private_directories():
            ray.init(
                address="local",
                _temp_dir=str(folder),
                num_cpus=engine.local_cpus,
                include_dashboard=False,
                object_store_memory=engine.object_store_mb * 2**20,
                **quiet,
            )
    except Exception as error:  # Ray raises bare Exceptions
        stop_private_ray()
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        limit = "" if (size := file_size_limit()) is None else f" (files may have {size} bytes here: ulimit -f)"
        raise ResourceError(
            f"Ray cannot start on this machine{limit}: {reason}; engine: serial needs no Ray"
        ) from error
    close_to_others(folder)
    watch(folder)


def _check_address(address: str) -> None:
    """Raise ResourceError if nothing listens at a cluster's address, for which ray.init would wait without end."""
    if address == "auto":
        current = Path(tempfile.gettempdir()) / "ray" / "ray_current_cluster"
        address = os.environ.get("RAY_ADDRESS") or (current.read_text() if current.is_file() else "")
    host, colon, port = address.strip().removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return  # ray.init says what it expects
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ResourceError(f"engine.address: no Ray cluster answers at '{address.strip()}' ({error})") from error
