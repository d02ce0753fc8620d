"""`xal explain`: explain one item."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from xal.cli.options import RunPath, console, single_run
from xal.errors import RunError


def explain(
    run: RunPath,
    image: Annotated[Path | None, typer.Argument(metavar="[IMAGE]", help="An image file.", show_default=False)] = None,
    text: Annotated[str | None, typer.Option(help="A text, for a run on texts.")] = None,
    item: Annotated[str | None, typer.Option(metavar="ID", help="An item of the run's pool.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Picture or page to write; by default NAME-why.png or NAME-why.html.")
    ] = None,
    of: Annotated[str | None, typer.Option("--class", help="Class to explain; by default the predicted class.")] = None,
    every: Annotated[bool, typer.Option("--every-class", help="Explain all classes, one below another.")] = False,
) -> None:
    """Explain an image, a text, or an item of the pool with a run's latest model."""
    from xal.campaign.explain import explain_image, explain_item, explain_text

    if sum(argument is not None for argument in (image, text, item)) != 1:
        raise RunError("pass exactly one of IMAGE, --text or --item")
    if every and of is not None:
        raise RunError("pass either --class or --every-class, not both")
    if image is not None:
        content, line = explain_image(single_run(run), image, of, every)
    elif text is not None:
        content, line = explain_text(single_run(run), text, of, every)
    else:
        content, line = explain_item(single_run(run), item or "", of, every)
    name = "text" if text is not None else re.sub(r"[^\w-]+", "-", image.stem if image else item or "")
    picture = content.startswith(b"\x89PNG")
    destination = out or Path(f"{name}-why.{'png' if picture else 'html'}")
    kinds = (".png",) if picture else (".html", ".htm")
    if destination.suffix.lower() not in kinds:
        raise RunError(f"--out {destination}: expected a name that ends with {kinds[0]}")
    if image is not None and destination.exists() and destination.samefile(image):
        raise RunError(f"--out {destination} is the image to explain; choose another file")
    destination.parent.mkdir(parents=True, exist_ok=True)
    destination.write_bytes(content)
    console.print(line)
    console.print(f"{'picture' if picture else 'page'}: {destination}")
