"""The engines, serial and Ray. Only `xal.engine.ray` imports ray, and only when a Ray engine is opened."""

from xal.engine.engine import Engine, Session
from xal.engine.ray.engine import RayEngine
from xal.engine.serial import SerialEngine

__all__ = ["Engine", "RayEngine", "SerialEngine", "Session"]
