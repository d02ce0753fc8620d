"""The Ray engine. Importing it does not import ray."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from xal.core.extras import require
from xal.engine.engine import Engine, Session
from xal.engine.ray.settings import RaySettings, keep_private


@dataclass(frozen=True, kw_only=True)
class RayEngine(RaySettings, name="ray"):
    """Ray Data shards the pool, actors hold the model, Ray Train trains."""

    def open(self) -> Session:
        """Start or join Ray; raises ResourceError if the cluster has too few CPUs or GPUs for the settings."""
        if self.address is None:
            keep_private()
        require("ray", "ray", "engine: ray (or take engine: serial)")
        from xal.engine.ray.session import RaySession

        return RaySession(self)


def as_ray(engine: Engine) -> RayEngine:
    """The engine itself if it is a Ray engine, else a Ray engine with the same rounding settings."""
    if isinstance(engine, RayEngine):
        return engine
    return RayEngine(**{field.name: getattr(engine, field.name) for field in fields(Engine)})


def joining(engine: Engine) -> Engine:
    """The engine for a job on a cluster: a Ray engine without an address joins the job's cluster."""
    if isinstance(engine, RayEngine) and engine.address is None:
        return replace(engine, address="auto")
    return engine
