"""The settings of the Ray engine, without the engine: what its session and its training read."""

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
    """Ray Data shards the pool, actors hold the model, Ray Train trains."""

    address: str | None = None
    """A cluster to join ("auto", or host:port); null: a local Ray, started and stopped by us."""
    cpus: Annotated[int, Field(ge=1)] | None = None
    """CPUs of a local Ray; null: the machine's, at least 2."""
    object_store_mb: Annotated[int, Field(ge=80)] = 512
    """Object store of a local Ray, MiB."""
    actors: Annotated[int, Field(ge=1)] = 2
    """Scoring actors, each with a copy of the model and explainer."""
    actor_cpus: Annotated[float, Field(ge=0)] = 0.5
    actor_gpus: Annotated[float, Field(ge=0)] = 0
    """GPUs of each scoring actor; fractions share a card."""
    train_workers: Annotated[int, Field(ge=0)] = 0
    """0: train in the campaign's process; more: Ray Train workers with DDP."""
    train_cpus: Annotated[float, Field(gt=0)] = 0.5
    train_gpus: Annotated[float, Field(ge=0)] = 0
    """GPUs of each training worker, or of in-process training (whole ones)."""
    wait_s: Annotated[float, Field(ge=0)] = 0
    """Seconds to wait for an autoscaling cluster to grow to what is asked for; 0: it is there, or an error."""
    parallel_runs: Annotated[int, Field(ge=1)] | None = None
    """Campaigns (arms x seeds) side by side; null: as many as the cluster's CPUs and GPUs hold."""

    @property
    def local_cpus(self) -> int:
        """CPUs that a local Ray is started with."""
        return self.cpus or max(2, os.cpu_count() or 2)


def keep_private() -> None:
    """Before ray is first imported: a Ray that this process starts listens on loopback alone and wants a token.

    The first is what Ray does by default on systems other than Linux, under a variable that is named after them. Ray
    reads both when it is imported: a program that has done that already has decided for itself.
    """
    if "ray" in sys.modules:
        return
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    if os.environ.setdefault("RAY_AUTH_MODE", "token") == "token" and not os.environ.get("RAY_AUTH_TOKEN_PATH"):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
