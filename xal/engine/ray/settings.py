"""The settings of the Ray engine, apart from the engine so that session and training can import them."""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from xal.engine.engine import Engine


@dataclass(frozen=True, kw_only=True)
class RaySettings(Engine):
    """Fields of the Ray engine."""

    address: str | None = None
    """Cluster to join ("auto", or host:port); null: start a local Ray, and stop it at the end."""
    cpus: Annotated[int, Field(ge=1)] | None = None
    """CPUs of a local Ray; null: those of the machine, at least 2."""
    object_store_mb: Annotated[int, Field(ge=80)] = 512
    """Object store of a local Ray, MiB."""
    actors: Annotated[int, Field(ge=1)] = 2
    """Scoring actors, each with a copy of the model and explainer."""
    actor_cpus: Annotated[float, Field(ge=0)] = 0.5
    """CPUs of each scoring actor."""
    actor_gpus: Annotated[float, Field(ge=0)] = 0
    """GPUs of each scoring actor; a fraction shares a GPU between actors."""
    train_workers: Annotated[int, Field(ge=0)] = 0
    """Number of Ray Train workers (DDP); 0: train in the campaign's process."""
    train_cpus: Annotated[float, Field(gt=0)] = 0.5
    """CPUs of each training worker."""
    train_gpus: Annotated[float, Field(ge=0)] = 0
    """GPUs of each training worker, or of in-process training (a whole number)."""
    wait_s: Annotated[float, Field(ge=0)] = 0
    """Seconds to wait for an autoscaling cluster to grow to these settings; 0: fail at once if it is too small."""
    parallel_runs: Annotated[int, Field(ge=1)] | None = None
    """Campaigns (arms x seeds) that run at once; null: as many as fit on the cluster's CPUs and GPUs."""

    @property
    def local_cpus(self) -> int:
        """Number of CPUs of a local Ray."""
        return self.cpus or max(2, os.cpu_count() or 2)


def keep_private() -> None:
    """Make a local Ray listen on loopback only and require a token. Call this before ray is imported.

    Ray reads both variables on import, so nothing is changed if ray is imported already. Loopback is Ray's default on
    Windows and macOS, and the variable is named after them.
    """
    if "ray" in sys.modules:
        return
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    if os.environ.setdefault("RAY_AUTH_MODE", "token") == "token" and not os.environ.get("RAY_AUTH_TOKEN_PATH"):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
