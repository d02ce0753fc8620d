"""A pool of scoring actors that survives the death of its actors.

The death of an actor is blamed on the call it was running. The call is submitted again; after DEATHS deaths it is split
in two (between batches, if it has more than one), and so on down to a single item, which is reported as failed. So a
killed process or node only costs time, and an item that kills every actor, such as by its memory, is left out.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import ray
from ray.exceptions import (
    ActorDiedError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from xal.core.failures import known_error
from xal.data.sharding import Block, Reader, Shard
from xal.engine.ray.private import block_columns
from xal.engine.tasks import ShardResult, ShardTask, check_failures
from xal.errors import ResourceError

IN_FLIGHT = 2  # calls queued at an actor, besides the one it runs
DEATHS = 3  # deaths of actors on one call before it is split
SILENCE_S = 1800  # seconds without an answer from any actor before the pass fails
LOST = (RayActorError, OutOfMemoryError, WorkerCrashedError, NodeDiedError)  # errors that mean the actor died
LOSSES = 10  # times that a block or an answer may be lost before the pass fails
PROBE_S = 0.5  # seconds between liveness probes of a dead actor


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call on rows start..stop-1 of a block (stop None: to its end).

    deaths: actors that died on it; losses: times that its block or answer was lost.
    """

    block: Any
    start: int = 0
    stop: int | None = None
    deaths: int = 0
    losses: int = 0


class ActorPool:
    """Submits blocks to the actor with the fewest calls and yields the results in any order."""

    def __init__(self, actors: Sequence[Any], task: ShardTask) -> None:
        self._actors, self._task, self._shared_task = actors, task, ray.put(task)
        self._running: list[deque[tuple[Any, Call]]] = [deque() for _ in actors]
        self._pending: deque[Call] = deque()
        self._dead: dict[int, float] = {}  # time of the next probe, by index of the dead actor
        self._probes: dict[Any, int] = {}  # index of the probed actor, by reference
        self._last_answer = time.monotonic()
        self._failed: list[tuple[str, str]] = []

    def give(self, block: Any) -> Iterator[ShardResult]:
        """Submit a block, after waiting until an actor has room for it; yields results that arrive meanwhile."""
        self._pending.append(Call(block=block))
        yield from self._wait(for_answers=False)

    def finish(self) -> Iterator[ShardResult]:
        """Wait for all calls; yields their results."""
        yield from self._wait(for_answers=True)

    def _wait(self, *, for_answers: bool) -> Iterator[ShardResult]:
        """Wait until all calls are submitted and, with `for_answers`, answered."""
        while self._pending or (for_answers and any(self._running)):
            alive = [actor for actor in range(len(self._actors)) if actor not in self._dead]
            free = min(alive, key=lambda actor: len(self._running[actor]), default=None)
            if self._pending and free is not None and len(self._running[free]) <= IN_FLIGHT:
                call = self._pending.popleft()
                reference = self._actors[free].run.remote(self._shared_task, call.block, call.start, call.stop)
                self._running[free].append((reference, call))
            else:
                yield from self._wait_for_one()

    def _wait_for_one(self) -> Iterator[ShardResult]:
        """Wait for the first call or probe that ends, for a limited time, and handle it."""
        now = time.monotonic()
        for actor, due in self._dead.items():
            if due <= now and actor not in self._probes.values():
                self._probes[self._actors[actor].ready.remote()] = actor
        owners = {reference: actor for actor, calls in enumerate(self._running) for reference, _ in calls}
        timeout = min([SILENCE_S, *(max(due - now, PROBE_S) for due in self._dead.values())])
        waiting = [*owners, *self._probes]
        if not waiting:
            self._check_silence()
            time.sleep(timeout)
            return
        done, _ = ray.wait(waiting, num_returns=1, timeout=timeout)
        if not done:
            self._check_silence()
            return
        ended = done[0]
        if ended in self._probes:
            self._handle_probe(self._probes.pop(ended), ended)
            return
        calls = self._running[owners[ended]]
        index = next(index for index, (reference, _) in enumerate(calls) if reference == ended)
        try:
            result = _get(ended)
        except ObjectLostError as error:  # the answer or the block was lost with a node, but the actor is alive
            call = replace(calls[index][1], losses=calls[index][1].losses + 1)
            if call.losses > LOSSES:
                raise ResourceError(f"a block of the pool was lost {LOSSES} times; run again ({error})") from error
            self._pending.append(call)
            del calls[index]
        except LOST:
            yield from self._handle_death(owners[ended])
        else:
            self._last_answer = time.monotonic()
            del calls[index]
            yield result

    def _check_silence(self) -> None:
        if time.monotonic() - self._last_answer > SILENCE_S:
            raise ResourceError(
                f"no scoring actor has answered for {SILENCE_S // 60} minutes; check that the cluster still has the "
                "CPUs, GPUs and memory that the engine's settings require"
            )

    def _handle_death(self, actor: int) -> Iterator[ShardResult]:
        """Submit the calls of a dead actor again; the first that did not end is blamed for the death."""
        blamed = False
        calls = [*self._running[actor]]
        self._running[actor].clear()
        self._dead[actor] = time.monotonic()
        for reference, call in calls:
            try:
                result = _get(reference)
            except (ObjectLostError, *LOST) as error:
                self._pending.extend([call] if blamed else self._blame(call, error))
                blamed = True
            else:
                yield result
        if self._failed:
            failed, self._failed = tuple(self._failed), []
            yield ShardResult(value=self._task.join([]), items=len(failed), unreadable=failed)

    def _handle_probe(self, actor: int, reference: Any) -> None:
        """Mark a dead actor as alive if its probe succeeded. Without probes, calls to an actor that still restarts
        would fail at once and be blamed."""
        try:
            _get(reference)
        except (ObjectLostError, *LOST) as error:
            if isinstance(error, ActorDiedError) and "creation task" in str(error):
                reason = str(error).strip().splitlines()[-1]
                raise ResourceError(f"a scoring actor cannot start: {reason}") from error
            self._dead[actor] = time.monotonic() + PROBE_S
        else:
            self._last_answer = time.monotonic()
            del self._dead[actor]

    def _blame(self, call: Call, error: Exception) -> list[Call]:
        """The calls to submit in place of one that an actor died on: itself, its halves, or none."""
        call = replace(call, deaths=call.deaths + 1)
        if call.deaths < DEATHS:
            return [call]
        try:
            columns = columns_of(call.block)
        except ObjectLostError:
            return [call]
        stop = len(columns["id"]) if call.stop is None else call.stop
        if stop - call.start <= 1:
            reason = f"{DEATHS} scoring actors died on it ({type(error).__name__})"
            self._failed.append((str(columns["id"][call.start]), reason))
            check_failures(self._failed, self._task.max_failures)
            return []
        middle = _middle(columns["batch"], call.start, stop)
        return [_half(call, call.start, middle), _half(call, middle, stop)]


@dataclass(frozen=True)
class UnreadBlock:
    """The block of one shard of a plan, not read yet."""

    shared: Any
    """Reference to (reader, plan), which a process fetches once for all shards."""
    number: int

    def read(self) -> Block:
        """Read the block, in this process."""
        reader, plan = fetched(self.shared)
        block: Block = reader(plan[self.number])
        return block


def unread_blocks(reader: Reader, plan: Sequence[Shard]) -> Iterator[UnreadBlock]:
    """One unread block for each shard of the plan."""
    shared = ray.put((reader, plan))
    yield from (UnreadBlock(shared, number) for number in range(len(plan)))


@lru_cache(maxsize=1)
def fetched(reference: Any) -> tuple[Any, ...]:
    """The object of a reference; the last one is cached."""
    content: tuple[Any, ...] = ray.get(reference)
    return content


def columns_of(block: Any) -> Block:
    """The columns of a Ray Data block, of a reference to one, or of an unread block, which is read now."""
    if isinstance(block, UnreadBlock):
        return block.read()
    return block_columns(ray.get(block) if isinstance(block, ray.ObjectRef) else block)


def _half(call: Call, start: int, stop: int) -> Call:
    """Half of a call. The next death splits it again, but a single item is tried DEATHS times before it is blamed."""
    return replace(call, start=start, stop=stop, deaths=0 if stop - start == 1 else DEATHS - 1)


def _middle(batches: Any, start: int, stop: int) -> int:
    """Where to split rows start..stop-1: between batches if there are several, so that batches stay the same."""
    edges = start + 1 + np.flatnonzero(np.diff(batches[start:stop]))
    middle = (start + stop) // 2
    return int(edges[np.abs(edges - middle).argmin()]) if len(edges) else middle


def _get(reference: Any) -> Any:
    with plain_errors():
        return ray.get(reference)


class plain_errors:
    """Context manager that raises an error from the cluster that has a known meaning as one sentence.

    final: nobody tries again, so that processes that ran out of memory are an error, too.
    """

    def __init__(self, *, final: bool = False) -> None:
        self._final = final

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        current: BaseException | None = error
        while current is not None:
            if isinstance(current, OutOfMemoryError) and self._final:
                raise ResourceError(
                    "the memory of a node ran out, and Ray killed a process; lower batch_size or engine.actors, or use "
                    "larger nodes; what is committed is kept"
                ) from None
            cause = current.cause if isinstance(current, RayTaskError) else current
            known = None if cause is None or isinstance(cause, RayError) else known_error(cause)
            if known is error:
                return
            if known is not None:
                raise known from None
            failures = getattr(current, "worker_failures", None)
            following = next(iter(failures.values())) if failures else current.__cause__
            current = cause if cause is not current and cause is not None else following
