"""Your own torch module: `{name: torch, factory: "my_module:build"}`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from torch import Tensor, nn

from xal.core import imports
from xal.core._typing import Field
from xal.errors import XalError
from xal.models.torch.model import TorchModel
from xal.types import Kind, Shape

LOCAL = "notebook:"
_local: dict[str, Callable[..., Any]] = {}


@dataclass(frozen=True, kw_only=True)
class TorchModule(TorchModel, name="torch"):
    """A torch module that your own function or class makes."""

    local: ClassVar[str] = LOCAL

    factory: str
    """`module:name` of a function, or class, that takes (shape, n_classes) and `settings` and returns a torch module:
    float inputs (b, *shape) -> logits (b, n_classes)."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Further arguments, as plain numbers and strings."""
    of: Literal["image", "features"] = "image"
    """Kind of item that the pool holds."""
    scale: Annotated[float, Field(gt=0)] | None = None
    """Inputs are divided by this number; null: 255 for images, 1 for features."""

    @property
    def kind(self) -> Kind:
        """The kind given by `of`."""
        return self.of

    def build(self, shape: Shape, n_classes: int) -> nn.Module:
        """Call the factory; raises XalError if it cannot be imported, fails, or does not return a torch module."""
        factory = self._factory()
        try:
            module = factory(shape, n_classes, **self.settings)
        except Exception as error:  # a user's code may raise anything
            raise XalError(
                f"model.factory '{self.factory}' failed for shape {shape} and {n_classes} classes: {error}"
            ) from error
        if not isinstance(module, nn.Module):
            raise XalError(
                f"model.factory '{self.factory}' returned {type(module).__name__}, expected a torch.nn.Module"
            )
        return module

    def preprocess(self, inputs: Tensor) -> Tensor:
        """Inputs as float32, divided by `scale`."""
        return super().preprocess(inputs) if self.scale is None else inputs.float() / self.scale

    def _factory(self) -> Callable[..., Any]:
        if self.factory.startswith(LOCAL):
            if self.factory not in _local:
                raise XalError(
                    f"model.factory '{self.factory}' was defined in a notebook that is closed; open the run with "
                    "xal.Learner.open(directory, model=...), or put the factory into a module and name it module:name"
                )
            return _local[self.factory]
        try:
            if ":" not in self.factory:
                raise XalError("expected module:name")
            factory: Callable[..., Any] = imports.attribute(self.factory)
        except Exception as error:  # a user's module may raise anything while it is imported
            raise XalError(f"model.factory '{self.factory}' cannot be imported: {error}") from error
        return factory


def remember(name: str, factory: Callable[..., Any]) -> str:
    """Register a factory that only this process has; returns its name for a recipe."""
    _local[LOCAL + name] = factory
    return LOCAL + name
