"""Import parts that are named as `package.module:Name`, and tell who named them.

A recipe, a call or `--with MODULE` is the user's word. A run directory may come from a stranger: what only its ledger
names is not imported.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from xal.errors import RunError

_NAME = re.compile(r"[^\W\d][\w.]*:[^\W\d]\w*")
_FIELDS = frozenset({"name", "factory", "phi", "estimator"})
"""Fields of recipes that may name code; a component may also be given by its name alone."""
_OURS = frozenset({"xal", "sklearn"})
_allowed: set[str] = set()
_folders: list[str] = []


def attribute(name: str) -> Any:
    """The attribute at `package.module:Name`; whatever its module raises."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def allow(modules: Iterable[str]) -> None:
    """Allow runs to name code in these modules; the user named them."""
    _allowed.update(modules)


def allow_named(recipe: Any, folder: Path | None = None) -> None:
    """Allow what a user's recipe names. folder: of the recipe, where such modules are found, too."""
    names = list(_modules(recipe))
    allow(names)
    if folder is not None and names and str(folder.absolute()) not in sys.path:
        sys.path.append(str(folder.absolute()))
        _folders.append(str(folder.absolute()))


def folders() -> list[str]:
    """Folders of recipes with modules beside them, which worker processes have to search as well."""
    return list(_folders)


def check_stored(recipe: Any, directory: Path) -> None:
    """Raise RunError if a run's recipe names code that the user did not."""
    foreign = sorted({module for module in _modules(recipe) if module not in _allowed})
    if foreign:
        raise RunError(
            f"{directory}: its recipe names code in {', '.join(foreign)}, which is not imported because a run says so; "
            f"if it is yours, allow it: xal --with {foreign[0]} ..."
        )


def _modules(value: Any, field: str = "name") -> Iterator[str]:
    """The modules outside xal and scikit-learn that the values of a recipe name."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _modules(item, str(key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _modules(item, field)
    elif isinstance(value, str) and _NAME.fullmatch(value) and (field in _FIELDS or field in _COMPONENTS):
        module = value.partition(":")[0]
        if module.partition(".")[0] not in _OURS:
            yield module


_COMPONENTS = frozenset(
    {"strategy", "model", "explainer", "encoder", "feedback", "annotator", "engine", "base", "start", "stop"}
)
