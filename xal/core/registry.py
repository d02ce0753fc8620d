"""A component is a frozen, keyword-only dataclass whose fields are its configuration.

A family (strategies, models, explainers, annotators) is a base class that owns a registry:

    class Strategy(Component, family="strategy"): ...

    @dataclass(frozen=True, kw_only=True)
    class Entropy(Strategy, name="entropy"): ...

`Strategy.named("entropy")` finds the class; a recipe may also give `package.module:Class`.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Iterable
from typing import Any, ClassVar

from xal.errors import XalError


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or the list of what there is."""
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
            cls.name = f"{cls.__module__}:{cls.__qualname__}"  # a user's own class, named by where it lives

    @classmethod
    def named(cls, name: str) -> type[Any]:
        """The class that a recipe's `name` means in this family.

        Raises XalError with the nearest known name, or what failed to import.
        """
        if name in cls.registry:
            return cls.registry[name]
        module, colon, attribute = name.partition(":")
        if not colon:
            raise XalError(f"unknown {cls.family} '{name}'{nearest(name, cls.registry)}")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except Exception as error:  # a user's module may raise anything while it is imported
            raise XalError(f"{cls.family} '{name}' cannot be imported: {error}") from error
        if not (isinstance(found, type) and issubclass(found, cls)):
            raise XalError(f"'{name}' is not a {cls.family}: derive it from {cls.__module__}.{cls.__name__}")
        if inspect.isabstract(found):
            raise XalError(
                f"{cls.family} '{name}' lacks {', '.join(sorted(getattr(found, '__abstractmethods__', ())))}"
            )
        return found
