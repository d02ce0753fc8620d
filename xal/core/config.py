"""Parse a mapping (a recipe's YAML) into frozen dataclasses, reporting all mistakes at once by their dotted paths.

A field whose type is a component family (`Strategy`, `Model`, ...) takes a name, or a mapping with `name` and the
component's own fields. Other fields are checked by pydantic.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, get_args, get_origin

import pydantic
import yaml

from xal.core.registry import Component, nearest
from xal.errors import ConfigError, XalError

_FAILED = object()
LONGEST_VALUE = 200  # characters of a value in a message
MAX_NODES, MAX_DEPTH = 100_000, 50
"""Values in a recipe, with aliases written out, and how deep they may be nested."""


def load_yaml(text: str, source: str) -> Any:
    """The content of a YAML file; ConfigError if it is not YAML, names a key twice, or is a bomb of aliases."""
    try:
        node = yaml.compose(text, _Loader)
        counts: dict[int, int] = {}
        if node is not None and _nodes(node, counts, 0) > MAX_NODES:
            raise ConfigError([f"more than {MAX_NODES:,} values, with aliases written out"], source)
        return _Loader(text).get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError([f"not YAML: {error or type(error).__name__}"], source) from error


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses a key that comes twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """As the base class."""
        keys = [key.value for key, _ in node.value if isinstance(key.value, str)]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None and twice != "<<":
            raise yaml.constructor.ConstructorError(None, None, f"the key '{twice}' comes twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _nodes(node: Any, counts: dict[int, int], depth: int) -> int:
    """The number of values below a node, every alias counted as what it stands for."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    if id(node) not in counts:
        counts[id(node)] = MAX_NODES + 1  # a node that holds itself
        children = []
        if isinstance(node, yaml.MappingNode):
            children = [each for pair in node.value for each in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        counts[id(node)] = 1 + sum(_nodes(child, counts, depth + 1) for child in children)
    return counts[id(node)]


def parse(kind: type[Any], value: Any, source: str = "recipe") -> Any:
    """Build an instance of `kind` from `value`; raises a ConfigError that lists all mistakes."""
    problems: list[str] = []
    built = _build(kind, value, "", problems)
    if problems:
        raise ConfigError(problems, source)
    return built


def unparse(value: Any) -> Any:
    """The inverse of `parse`: a mapping (or list or scalar) that can be stored, hashed and compared."""
    if isinstance(value, tuple | list):
        return [unparse(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): unparse(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = {"name": value.name} if isinstance(value, Component) else {}
        return named | {field.name: unparse(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value


def override(mapping: dict[str, Any], settings: list[str]) -> None:
    """Apply `a.b.c=value` settings (values in YAML) to a mapping in place; raises ConfigError for a malformed setting.

    A component that is given by name becomes a mapping.
    """
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise ConfigError([f"--set {setting}: expected dotted.path=value"], "command line")
        *parents, last = path.split(".")
        node = mapping
        for parent in parents:
            child = node.get(parent)
            if child is None:
                child = node[parent] = {}
            if isinstance(child, str):
                child = node[parent] = {"name": child}
            if not isinstance(child, dict):
                raise ConfigError([f"--set {setting}: '{parent}' is not a section"], "command line")
            node = child
        try:
            node[last] = load_yaml(text, "command line")
        except ConfigError as error:
            raise ConfigError([f"--set {setting}: {error.problems[0]}"], "command line") from error


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Differences between two mappings, one line for each dotted path; `one` is called "here", `other` "there"."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = sorted({*one, *other})
        return [line for key in keys for line in differences(one.get(key), other.get(key), _join(path, key))]
    return [] if one == other else [f"{path}: {other!r} there, {one!r} here"]


def _shown(value: Any) -> str:
    """A value as messages show it, cut if it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _build(hint: Any, value: Any, path: str, problems: list[str]) -> Any:
    hint, annotated = _without_annotation(hint)
    origin = get_origin(hint)
    options = [option for option in get_args(hint) if option is not type(None)]
    if origin in (typing.Union, types.UnionType) and len(options) == 1 and _holds_nested(options[0]):
        return None if value is None else _build(options[0], value, path, problems)
    if origin is tuple and _nested(get_args(hint)[0]):
        if not isinstance(value, list | tuple):
            problems.append(f"{path}: expected a list, got {_shown(value)}")
            return _FAILED
        return tuple(_build(get_args(hint)[0], item, f"{path}[{i}]", problems) for i, item in enumerate(value))
    if origin is dict and _nested(get_args(hint)[1]):
        if not isinstance(value, Mapping):
            problems.append(f"{path}: expected a mapping of names, got {_shown(value)}")
            return _FAILED
        return {str(key): _build(get_args(hint)[1], item, _join(path, key), problems) for key, item in value.items()}
    if isinstance(hint, type) and issubclass(hint, Component):
        return _component(hint, value, path, problems)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _section(hint, {} if value is None else value, path, problems)
    try:
        return pydantic.TypeAdapter(annotated).validate_python(value)
    except pydantic.ValidationError as error:
        for line in error.errors():
            location = ".".join([path, *(str(part) for part in line["loc"] if isinstance(part, int))])
            message = f"{location}: {line['msg'][0].lower()}{line['msg'][1:]}, got {_shown(line['input'])}"
            if message not in problems:
                problems.append(message)
        return _FAILED


def _component(family: type[Component], value: Any, path: str, problems: list[str]) -> Any:
    if isinstance(value, family):
        return value
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, Mapping):
        problems.append(
            f"{path}: expected the name of a {family.family}, or a mapping with `name`, got {_shown(value)}"
        )
        return _FAILED
    if "name" not in value:
        problems.append(f"{path}.name: missing; name a {family.family}: {', '.join(sorted(family.registry))}")
        return _FAILED
    try:
        kind = family.named(str(value["name"]))
    except XalError as error:
        problems.append(f"{path}.name: {error}")
        return _FAILED
    return _section(kind, {key: item for key, item in value.items() if key != "name"}, path, problems)


def _section(kind: type[Any], value: Any, path: str, problems: list[str]) -> Any:
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        problems.append(f"{path or 'top level'}: expected a mapping, got {_shown(value)}")
        return _FAILED
    hints = typing.get_type_hints(kind, include_extras=True)
    known_fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    n_problems = len(problems)
    for key in value:
        if key not in known_fields:
            problems.append(f"{_join(path, key)}: unknown field{nearest(str(key), known_fields)}")
    for name, field in known_fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in value:
            problems.append(f"{_join(path, name)}: missing")
    built = {
        name: _build(hints[name], value[name], _join(path, name), problems) for name in known_fields if name in value
    }
    if len(problems) > n_problems:
        return _FAILED
    try:
        return kind(**built)
    except ConfigError as error:
        problems.extend(_join(path, problem) for problem in error.problems)
    except XalError as error:
        problems.append(f"{path or 'top level'}: {error}")
    return _FAILED


def _without_annotation(hint: Any) -> tuple[Any, Any]:
    return (get_args(hint)[0], hint) if get_origin(hint) is typing.Annotated else (hint, hint)


def _holds_nested(hint: Any) -> bool:
    return _nested(hint) or (get_origin(hint) in (tuple, dict) and any(_nested(option) for option in get_args(hint)))


def _nested(hint: Any) -> bool:
    hint, _ = _without_annotation(hint)
    return isinstance(hint, type) and (issubclass(hint, Component) or dataclasses.is_dataclass(hint))
