"""HTML pages and fragments from the templates in `xal/core/templates`; every value is escaped unless it is Markup."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("xal.core"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )


def render(template: str, **values: Any) -> Markup:
    """Render a template. The result is Markup, which other templates include unescaped."""
    return Markup(_environment().get_template(template).render(**values))
