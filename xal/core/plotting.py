"""Reproducible PNG and SVG files of figures: the same figure gives the same bytes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.rcParams["text.parse_math"] = False  # a $ in the name of a class is a $
PLAIN = {"Date": None, "Creator": None, "Format": None, "Type": None}


def png(figure: Any) -> bytes:
    """The PNG bytes of a matplotlib figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def svg(figure: Any) -> str:
    """A matplotlib figure as an SVG element, without XML header and date."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=PLAIN)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def save(figure: Any, path: Path) -> Path:
    """Write a figure to a .png or .svg file; missing folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".svg":
        path.write_text(svg(figure) + "\n", encoding="utf-8")
    else:
        path.write_bytes(png(figure))
    return path
