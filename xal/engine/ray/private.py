"""All uses of ray's private API.

`pyproject.toml` bounds ray's version from above, since these calls may break with any release of ray.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
import ray._common.utils as utils
import ray._private.worker
from ray.data.block import BlockAccessor


def block_columns(block: Any) -> dict[str, Any]:
    """The columns of a block of Ray Data as numpy arrays."""
    columns: dict[str, Any] = BlockAccessor.for_block(block).to_numpy()
    return columns


def head_processes() -> list[tuple[str, Any]]:
    """(name, subprocess.Popen) of raylet and gcs_server, if this process started Ray."""
    node = ray._private.worker._global_node
    started = {} if node is None else node.all_processes
    return [(name, info.process) for name in ("raylet", "gcs_server") for info in started.get(name, [])]


def set_callbacks(tuner: Any, callbacks: list[Any]) -> None:
    """Set the callbacks of a restored Tuner, which does not restore them."""
    tuner._local_tuner._run_config.callbacks = callbacks


def trials_of(results: Any) -> list[Any]:
    """The trials of a ResultGrid; the results of failed trials lack their settings and state."""
    trials: list[Any] = results._experiment_analysis.trials
    return trials


@contextmanager
def private_directories() -> Iterator[None]:
    """Keep Ray from making the directories of a session that it starts writable for all."""
    shared = utils.try_make_directory_shared
    utils.try_make_directory_shared = lambda path: os.chmod(path, 0o700)
    try:
        yield
    finally:
        utils.try_make_directory_shared = shared
