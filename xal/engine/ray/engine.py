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
        """Raises ResourceError where the cluster cannot hold what is asked for."""
        if self.address is None:
            keep_private()
        require("ray", "ray", "engine: ray (the default; engine: serial needs no package)")
        from xal.engine.ray.session import RaySession

        return RaySession(self)


def as_ray(engine: Engine) -> RayEngine:
    """The engine itself where it is a Ray engine, else one that rounds as it does."""
    if isinstance(engine, RayEngine):
        return engine
    return RayEngine(**{field.name: getattr(engine, field.name) for field in fields(Engine)})


def joining(engine: Engine) -> Engine:
    """The engine for a job on a cluster: a Ray engine without an address joins the cluster that it runs on."""
    if isinstance(engine, RayEngine) and engine.address is None:
        return replace(engine, address="auto")
    return engine
