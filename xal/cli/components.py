"""`xal list`: components that a recipe can name."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Annotated, Any

import typer
from rich.table import Table

from xal.cli.options import console
from xal.core.field_docs import documented
from xal.core.registry import nearest
from xal.errors import XalError


def list_components(
    name: Annotated[str | None, typer.Argument(help="A component, section or family to explain.")] = None,
) -> None:
    """List the components and sections of recipes, or explain the fields of one."""
    from xal.annotators import Annotator
    from xal.campaign.recipe import Budget, PoolSection, Recipe
    from xal.campaign.search_settings import Search
    from xal.encoders import Encoder
    from xal.engine import Engine
    from xal.evaluation.stopping import StoppingRule
    from xal.explainers import Explainer
    from xal.feedback import Feedback
    from xal.models import Model
    from xal.models.train_settings import TrainSettings
    from xal.strategies import Strategy

    sections = {"": Recipe, "pool": PoolSection, "train": TrainSettings, "budget": Budget, "search": Search}
    families: list[Any] = [Strategy, Explainer, Model, Encoder, Annotator, Feedback, StoppingRule, Engine]
    if name in [family.family for family in families]:
        _show([family for family in families if family.family == name])
        return
    if name is not None:
        found = [family.registry[name] for family in families if name in family.registry]
        found += [section for key, section in sections.items() if key == name]
        if not found:
            known = {*sections, *(each for family in families for each in family.registry)} - {""}
            raise XalError(f"no component or section '{name}'{nearest(name, known)}")
        for kind in found:
            _explain(kind)
        return
    table = Table(title="sections", title_justify="left", title_style="bold", show_edge=False)
    for column in ("section", "fields"):
        table.add_column(column, overflow="fold")
    for section_name, section in sections.items():
        fields = [field for field in dataclasses.fields(section) if section is not Recipe or field.name not in sections]
        table.add_row(section_name, ", ".join(map(_field, fields)))
    console.print(table)
    console.print()
    _show(families)


def _show(families: list[Any]) -> None:
    """Print a table of the components of each family."""
    for family in families:
        table = Table(title=family.family, title_justify="left", title_style="bold", show_edge=False)
        for column in ("name", "description", "fields"):
            table.add_column(column, overflow="fold")
        for component_name, component in sorted(family.registry.items()):
            settings = ", ".join(_field(field) for field in dataclasses.fields(component))
            table.add_row(component_name, (component.__doc__ or "").strip().splitlines()[0], settings)
        console.print(table)
        console.print()


def _explain(kind: Any) -> None:
    """Print what a component is, and what each of its fields means."""
    console.print(f"{kind.__name__}: {inspect.getdoc(kind)}")
    told = documented(kind)
    for field in dataclasses.fields(kind):
        console.print(f"\n{_field(field)}", style="bold")
        console.print("  " + told.get(field.name, ("", ""))[1])


def _field(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"{field.name}={field.default!r}"
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
        return f"{field.name}={getattr(default, 'name', default)}"
    return field.name
