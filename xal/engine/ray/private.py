"""What is private in ray, and used all the same: here alone. `pyproject.toml` bounds ray's version from above, and
tests/engine/ray/test_private_api.py fails when it changes.
"""

from __future__ import annotations

from typing import Any

from ray.data.block import BlockAccessor


def block_columns(block: Any) -> dict[str, Any]:
    """The columns of a block of Ray Data as numpy arrays."""
    columns: dict[str, Any] = BlockAccessor.for_block(block).to_numpy()
    return columns


def set_callbacks(tuner: Any, callbacks: list[Any]) -> None:
    """Give a restored Tuner the callbacks that it does not restore."""
    tuner._local_tuner._run_config.callbacks = callbacks


def trials_of(results: Any) -> list[Any]:
    """The trials behind a ResultGrid, which know settings and state that results of failed trials forget."""
    trials: list[Any] = results._experiment_analysis.trials
    return trials
