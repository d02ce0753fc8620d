"""Write docs/reference.md from the registries: every component and recipe section, with every field's docstring.

    python docs/reference.py

`make docs` runs it. Types, defaults and docstrings are read from the source, so the page cannot fall behind the code.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
from pathlib import Path
from typing import Any

from xal.annotators import Annotator
from xal.campaign.recipe import Budget, PoolSection, Recipe
from xal.campaign.search_settings import Search, Span
from xal.core.field_docs import documented
from xal.encoders import Encoder
from xal.engine import Engine
from xal.evaluation.stopping import StoppingRule
from xal.explainers import Explainer
from xal.feedback import Feedback
from xal.models import Model
from xal.models.train_settings import TrainSettings
from xal.strategies import Strategy

PAGE = Path(__file__).with_name("reference.md")
FAMILIES: dict[str, Any] = {
    "Strategies": Strategy,
    "Explainers": Explainer,
    "Models": Model,
    "Encoders": Encoder,
    "Annotators": Annotator,
    "Feedback": Feedback,
    "Stopping rules": StoppingRule,
    "Engines": Engine,
}
SECTIONS: dict[str, type[Any]] = {
    "pool": PoolSection,
    "train": TrainSettings,
    "budget": Budget,
    "search": Search,
    "an entry of search.space": Span,
}
HEAD = """\
# Reference

Every section of a recipe and every component that it can name, generated from the source by `docs/reference.py`.
A component is given by its name (`strategy: margin`), by a mapping with its fields (`strategy: {name: diverse,
clusters: 20}`), or, for a class of yours, as `module:Class`. `xal list` prints the same names in a terminal.
"""


def main() -> None:
    """Write the page."""
    lines = [HEAD, "## Recipe", "", *table(Recipe)]
    for name, section in SECTIONS.items():
        lines += ["", f"### {name}", "", paragraph(section), "", *table(section)]
    for title, family in FAMILIES.items():
        lines += ["", f"## {title}", "", paragraph(family)]
        for name, component in sorted(family.registry.items()):
            lines += ["", f"### {name}", "", paragraph(component), "", *table(component)]
    PAGE.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(f"{PAGE}: {sum(len(family.registry) for family in FAMILIES.values())} components")


def table(kind: type[Any]) -> list[str]:
    """The fields of a dataclass as a Markdown table."""
    fields = [field for field in dataclasses.fields(kind) if field.init]
    if not fields:
        return ["No settings."]
    found = documented(kind)
    rows = ["| field | type | default | |", "| --- | --- | --- | --- |"]
    for field in fields:
        annotation, docstring = found.get(field.name, ("", ""))
        cells = [f"`{field.name}`", readable(annotation), code(default(kind, field)), docstring]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return rows


def readable(annotation: str) -> str:
    """`Annotated[int, Field(ge=1)] | None` -> `integer >= 1 or null`."""
    return _type(ast.parse(annotation, mode="eval").body) if annotation else ""


def _type(node: ast.expr) -> str:
    if isinstance(node, ast.BinOp):
        return f"{_type(node.left)} or {_type(node.right)}"
    if isinstance(node, ast.Constant):
        return "null" if node.value is None else str(node.value)
    if isinstance(node, ast.Subscript):
        outer, inner = ast.unparse(node.value), node.slice
        parts = list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]
        if outer == "Annotated":
            return f"{_type(parts[0])}{_bounds(parts[1])}"
        if outer == "Literal":
            return " or ".join(str(ast.literal_eval(part)) for part in parts)
        if outer == "tuple":
            return f"list of {_type(parts[0])}"
        if outer == "dict":
            return f"mapping of {_type(parts[1])}"
    name = ast.unparse(node)
    return NAMED.get(name, name)


NAMED = {
    "str": "text",
    "bool": "true or false",
    "float": "number",
    "int": "integer",
    "Any": "any value",
    "Strategy": "a strategy",
    "Explainer": "an explainer",
    "Model": "a model",
    "Encoder": "an encoder",
    "Annotator": "an annotator",
    "Feedback": "a feedback",
    "Engine": "an engine",
    "PoolSection": "section `pool`",
    "TrainSettings": "section `train`",
    "Budget": "section `budget`",
    "Search": "section `search`",
    "Span": "a range or choices",
    "Backend": "torch or faiss or sklearn",
    "Reduction": "svd or pca",
    "OtherClasses": "absolute or positive",
    "MaskValue": "blur or grey or black or mean or labelled",
    "Output": "probability or margin",
    "Precision": "float32 or bfloat16",
    "Kind": "image or text or features",
    "Rate": "number in [0, 1]",
}


def _bounds(call: ast.expr) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    keywords = call.keywords if isinstance(call, ast.Call) else []
    limits = [f"{signs[word.arg or '']} {ast.unparse(word.value)}" for word in keywords if word.arg in signs]
    return f" {' and '.join(limits)}" if limits else ""


def default(kind: type[Any], field: dataclasses.Field[Any]) -> str:
    """As YAML has it."""
    if kind is Recipe and field.name in ("strategy", "explainer"):
        return "declared"  # by feedback or model, as the docstring says
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return "required"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, dict):
        return str(value)
    if dataclasses.is_dataclass(value):
        return str(getattr(value, "name", "")) or "its defaults"
    return str(value)


def code(text: str) -> str:
    """In backticks, unless there is nothing."""
    return f"`{text}`" if text else ""


def paragraph(kind: type[Any]) -> str:
    """The first paragraph of a docstring, indented blocks left out."""
    text = inspect.cleandoc(kind.__doc__ or "")
    return " ".join(text.split("\n\n")[0].split()).replace("<", "&lt;")


if __name__ == "__main__":
    main()
