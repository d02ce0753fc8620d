"""Errors from the cluster as one sentence; what happens to calls is tested with killed actors in tests/faults."""

import errno

import pytest
from ray.exceptions import OutOfMemoryError, RayTaskError

from xal.engine.ray.actor_pool import plain_errors
from xal.errors import DataError, ResourceError


def task_error(cause: BaseException) -> RayTaskError:
    return RayTaskError("run", "a traceback of many lines\n", cause)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (task_error(DataError("no pool")), DataError, "^no pool$"),
        (task_error(OSError(errno.ENOSPC, "No space left", "/x")), ResourceError, "^/x: no space is left; free"),
        (task_error(MemoryError("3 GiB")), ResourceError, "^the memory does not suffice"),
        (OutOfMemoryError("a raylet's long story"), ResourceError, "^the memory of a node ran out"),
    ],
)
def test_known_errors_are_one_sentence(error: BaseException, kind: type, text: str) -> None:
    with pytest.raises(kind, match=text) as caught, plain_errors(final=True):
        raise error
    assert caught.value.__cause__ is None and "\n" not in str(caught.value)


def test_causes_are_looked_for() -> None:
    outer = RuntimeError("worker group")
    outer.worker_failures = {0: task_error(DataError("broken item"))}
    with pytest.raises(DataError, match="^broken item$"), plain_errors():
        raise outer


@pytest.mark.parametrize("error", [TypeError("a fault"), OutOfMemoryError("tried again")])
def test_others_stay_as_they_are(error: BaseException) -> None:
    with pytest.raises(type(error)), plain_errors():
        raise error
