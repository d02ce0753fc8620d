"""Registry of components: frozen, keyword-only dataclasses whose fields are their configuration.

A family (strategies, models, explainers, annotators) is a base class that owns a registry:

    class Strategy(Component, family="strategy"): ...

    @dataclass(frozen=True, kw_only=True)
    class Entropy(Strategy, name="entropy"): ...

`Strategy.named("entropy")` finds the class; a recipe may also give `package.module:Class`.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable
from typing import Any, ClassVar

from xal.core import imports
from xal.errors import XalError


def nearest(word: str, known: Iterable[str]) -> str:
    """Hint for an unknown name: `; did you mean 'x'?`, or the list of the known names."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; choose one of: {', '.join(names)}"


class Component:
    """Base of everything that a recipe can name."""

    family: ClassVar[str] = "component"
    name: ClassVar[str] = ""
    registry: ClassVar[dict[str, type[Any]]] = {}

    def __init_subclass__(cls, *, name: str | None = None, family: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if family is not None:
            cls.family, cls.registry = family, {}
        if name is not None:
            cls.name = name
            cls.registry[name] = cls
        elif family is None:
            cls.name = f"{cls.__module__}:{cls.__qualname__}"  # a user's class, named by its module

    @classmethod
    def named(cls, name: str) -> type[Any]:
        """The class of this family with a recipe's `name`, or at `package.module:Class`.

        Raises XalError for a name that is not registered, cannot be imported, or is no concrete class of the family.
        """
        if name in cls.registry:
            return cls.registry[name]
        if ":" not in name:
            raise XalError(f"unknown {cls.family} '{name}'{nearest(name, cls.registry)}")
        try:
            kind = imports.attribute(name)
        except Exception as error:  # importing a user's module may raise anything
            raise XalError(f"{cls.family} '{name}' cannot be imported: {error}") from error
        if not (isinstance(kind, type) and issubclass(kind, cls)):
            raise XalError(f"'{name}' is not a {cls.family}: derive it from {cls.__module__}.{cls.__name__}")
        if inspect.isabstract(kind):
            methods = ", ".join(sorted(getattr(kind, "__abstractmethods__", ())))
            raise XalError(f"{cls.family} '{name}' lacks {methods}; implement these methods")
        return kind
