"""Calls to the scoring actors, which may die under them.

An actor's death is blamed on the call it was working on. The call is given out again; after DEATHS of them in two
halves (of whole batches, where it holds more than one), and so on until a single item is left, which is set aside. So
a killed process or node costs time, and an item that no actor survives, for want of memory or otherwise, costs itself.
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
    RayTaskError,
    WorkerCrashedError,
)

from xal.data.sharding import Block, Reader, Shard
from xal.engine.ray.private import block_columns
from xal.engine.tasks import ShardResult, ShardTask, check_failures
from xal.errors import ResourceError, XalError

IN_FLIGHT = 2  # calls queued at an actor besides the one it works on
DEATHS = 3  # of actors on one call, before it is cut in two
SILENCE_S = 1800  # seconds without an answer from any actor
LOST = (RayActorError, OutOfMemoryError, WorkerCrashedError, NodeDiedError)  # with the actor
LOSSES = 10  # of a block or an answer, before we give up
PROBE_S = 0.5  # between two looks whether a lost actor is there again


@dataclass(frozen=True, kw_only=True)
class Call:
    """Rows start..stop-1 of a block (None: to its end), how many actors died on them, how often the answer was lost."""

    block: Any
    start: int = 0
    stop: int | None = None
    deaths: int = 0
    losses: int = 0


class ActorPool:
    """Gives blocks to the actor with the fewest calls, and yields what comes back."""

    def __init__(self, actors: Sequence[Any], task: ShardTask) -> None:
        self._actors, self._work, self._shared = actors, task, ray.put(task)
        self._running: list[deque[tuple[Any, Call]]] = [deque() for _ in actors]
        self._again: deque[Call] = deque()
        self._lost: dict[int, float] = {}  # actors, and when to ask next whether they are there again
        self._asked: dict[Any, int] = {}  # such questions
        self._heard = time.monotonic()
        self._failed: list[tuple[str, str]] = []

    def give(self, block: Any) -> Iterator[ShardResult]:
        """Hand out a block, once there is room for it."""
        self._again.append(Call(block=block))
        yield from self._until(room=True)

    def finish(self) -> Iterator[ShardResult]:
        """What is still out."""
        yield from self._until(room=False)

    def _until(self, *, room: bool) -> Iterator[ShardResult]:
        """Wait until all calls are handed out, and, without `room`, answered."""
        while self._again or (not room and any(self._running)):
            alive = [number for number in range(len(self._actors)) if number not in self._lost]
            free = min(alive, key=lambda number: len(self._running[number]), default=None)
            if self._again and free is not None and len(self._running[free]) <= IN_FLIGHT:
                call = self._again.popleft()
                reference = self._actors[free].run.remote(self._shared, call.block, call.start, call.stop)
                self._running[free].append((reference, call))
            else:
                yield from self._next()

    def _next(self) -> Iterator[ShardResult]:
        """What comes of the first call that ends."""
        now = time.monotonic()
        for number, due in self._lost.items():
            if due <= now and number not in self._asked.values():
                self._asked[self._actors[number].ready.remote()] = number
        owners = {reference: number for number, calls in enumerate(self._running) for reference, _ in calls}
        patience = min([SILENCE_S, *(max(due - now, PROBE_S) for due in self._lost.values())])
        waiting = [*owners, *self._asked]
        if not waiting:
            self._check_silence()
            time.sleep(patience)
            return
        done, _ = ray.wait(waiting, num_returns=1, timeout=patience)
        if not done:
            self._check_silence()
            return
        if done[0] in self._asked:
            self._back(self._asked.pop(done[0]), done[0])
            return
        calls = self._running[owners[done[0]]]
        place = next(place for place, each in enumerate(calls) if each[0] == done[0])
        try:
            result = _get(done[0])
        except ObjectLostError as error:  # the answer, or the block, went with a node; the actor did not
            call = replace(calls[place][1], losses=calls[place][1].losses + 1)
            if call.losses > LOSSES:
                raise ResourceError(f"a block of the pool was lost {LOSSES} times; run again ({error})") from error
            self._again.append(call)
            del calls[place]
        except LOST:
            yield from self._died(owners[done[0]])
        else:
            self._heard = time.monotonic()
            del calls[place]
            yield result

    def _check_silence(self) -> None:
        if time.monotonic() - self._heard > SILENCE_S:
            raise ResourceError(
                f"no scoring actor has answered for {SILENCE_S // 60} minutes; does the cluster still have the CPUs, "
                "GPUs and memory that the engine asks for?"
            )

    def _died(self, number: int) -> Iterator[ShardResult]:
        """Give out again what a dead actor had; the first of its calls that did not end is to blame."""
        blamed = False
        lost = [*self._running[number]]
        self._running[number].clear()
        self._lost[number] = time.monotonic()
        for reference, call in lost:
            try:
                result = _get(reference)
            except (ObjectLostError, *LOST) as error:
                self._again.extend([call] if blamed else self._blame(call, error))
                blamed = True
            else:
                yield result
        if self._failed:
            failed, self._failed = tuple(self._failed), []
            yield ShardResult(value=self._work.join([]), items=len(failed), unreadable=failed)

    def _back(self, number: int, reference: Any) -> None:
        """Whether a lost actor is there again: a call to one that still starts fails at once, and would be blamed."""
        try:
            _get(reference)
        except (ObjectLostError, *LOST) as error:
            if isinstance(error, ActorDiedError) and "creation task" in str(error):
                reason = str(error).strip().splitlines()[-1]
                raise ResourceError(f"a scoring actor cannot start: {reason}") from error
            self._lost[number] = time.monotonic() + PROBE_S
        else:
            self._heard = time.monotonic()
            del self._lost[number]

    def _blame(self, call: Call, error: Exception) -> list[Call]:
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
            check_failures(self._failed, self._work.max_failures)
            return []
        middle = _middle(columns["batch"], call.start, stop)
        return [_half(call, call.start, middle), _half(call, middle, stop)]


@dataclass(frozen=True)
class UnreadBlock:
    """A block to be read: that of one unit of a plan."""

    shared: Any
    """Reference to (reader, plan): a process fetches it once, not with every unit."""
    number: int

    def read(self) -> Block:
        """Read it, in this process."""
        reader, plan = fetched(self.shared)
        block: Block = reader(plan[self.number])
        return block


def unread_blocks(reader: Reader, plan: Sequence[Shard]) -> Iterator[UnreadBlock]:
    """The blocks of the plan's units."""
    shared = ray.put((reader, plan))
    yield from (UnreadBlock(shared, number) for number in range(len(plan)))


@lru_cache(maxsize=1)
def fetched(reference: Any) -> tuple[Any, ...]:
    """What is behind a reference, kept until another is asked for."""
    found: tuple[Any, ...] = ray.get(reference)
    return found


def columns_of(block: Any) -> Block:
    """The columns of a block of Ray Data, or of a reference to it, or of one that is read here and now."""
    if isinstance(block, UnreadBlock):
        return block.read()
    found = ray.get(block) if isinstance(block, ray.ObjectRef) else block
    return block_columns(found)


def _half(call: Call, start: int, stop: int) -> Call:
    """Cut again at the next death, but a single item has DEATHS chances: others may have killed its actor."""
    return replace(call, start=start, stop=stop, deaths=0 if stop - start == 1 else DEATHS - 1)


def _middle(batches: Any, start: int, stop: int) -> int:
    """Where to cut rows start..stop-1: between batches where there are several, so that the others stay as they are."""
    edges = start + 1 + np.flatnonzero(np.diff(batches[start:stop]))
    middle = (start + stop) // 2
    return int(edges[np.abs(edges - middle).argmin()]) if len(edges) else middle


def _get(reference: Any) -> Any:
    with plain_errors():
        return ray.get(reference)


class plain_errors:
    """An XalError raised on the cluster is raised here as itself, without the cluster's traceback."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        seen: BaseException | None = error
        while seen is not None:
            cause = seen.cause if isinstance(seen, RayTaskError) else None
            if isinstance(cause, XalError):
                raise cause from None
            seen = cause or seen.__cause__
            failures = getattr(seen, "worker_failures", None)
            if failures:
                seen = next(iter(failures.values()))
            if isinstance(seen, XalError) and not isinstance(seen, RayTaskError):
                raise seen from None
