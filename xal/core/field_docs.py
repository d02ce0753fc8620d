"""The docstrings after the fields of a class, which only its source has."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from typing import Any


def documented(kind: type[Any]) -> dict[str, tuple[str, str]]:
    """(annotation, docstring) of each field, as the source has them; a subclass that says nothing inherits."""
    found: dict[str, tuple[str, str]] = {}
    for base in reversed(kind.__mro__):
        for name, annotation, docstring in attributes(base):
            inherited = found.get(name, ("", ""))[1]
            found[name] = (annotation, docstring or inherited)
    return found


@cache
def attributes(kind: type[Any]) -> tuple[tuple[str, str, str], ...]:
    """(name, annotation, docstring) of the annotated attributes in a class's own body."""
    try:
        source = textwrap.dedent(inspect.getsource(kind))
    except (OSError, TypeError):  # builtins
        return ()
    return tuple(_attributes(ast.parse(source).body[0]))


def _attributes(node: Any) -> Iterator[tuple[str, str, str]]:
    body = list(getattr(node, "body", []))
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                text = " ".join(str(following.value.value).split())
            yield statement.target.id, ast.unparse(statement.annotation), text
