"""`xal list`: components that a recipe can name."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.table import Table

from xal.cli.options import console


def list_components() -> None:
    """List the components and sections of recipes, with their fields and defaults."""
    from xal.annotators import Annotator
    from xal.campaign.recipe import Budget, PoolSection, Recipe
    from xal.campaign.search_settings import Search
    from xal.encoders import Encoder
    from xal.engine import Engine
    from xal.explainers import Explainer
    from xal.feedback import Feedback
    from xal.models import Model
    from xal.models.train_settings import TrainSettings
    from xal.strategies import Strategy

    sections = {"": Recipe, "pool": PoolSection, "train": TrainSettings, "budget": Budget, "search": Search}
    table = Table(title="sections", title_justify="left", title_style="bold", show_edge=False)
    for column in ("section", "fields"):
        table.add_column(column, overflow="fold")
    for name, section in sections.items():
        fields = [field for field in dataclasses.fields(section) if section is not Recipe or field.name not in sections]
        table.add_row(name, ", ".join(map(_field, fields)))
    console.print(table)
    console.print()
    families: list[Any] = [Strategy, Explainer, Model, Encoder, Annotator, Feedback, Engine]
    for family in families:
        table = Table(title=family.family, title_justify="left", title_style="bold", show_edge=False)
        for column in ("name", "description", "fields"):
            table.add_column(column, overflow="fold")
        for name, component in sorted(family.registry.items()):
            settings = ", ".join(_field(field) for field in dataclasses.fields(component))
            table.add_row(name, (component.__doc__ or "").strip().splitlines()[0], settings)
        console.print(table)
        console.print()


def _field(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"{field.name}={field.default!r}"
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
        return f"{field.name}={getattr(default, 'name', default)}"
    return field.name
