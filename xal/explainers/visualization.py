"""Draw explanations: heat maps of images, texts with highlighted words, and columns of table rows."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image

from xal.core import hashed_words
from xal.core.html import render
from xal.core.plotting import png
from xal.types import Explanations, dense

FEATURES = colormaps["Set2"]
HEAT = colormaps["coolwarm"]


NOTHING = 0.01
"""Sum of absolute attributions, in units of the output, below which an explanation says nothing."""
SAYS_NOTHING = "this explanation says nothing"


def says_nothing(explanation: Explanations) -> bool:
    """Whether all features together move the output by less than NOTHING; EBAnO's indices are relative, and say."""
    if explanation.npirp is not None:
        return False
    values = explanation.attributions
    return float(np.nansum(np.abs(values if isinstance(values, np.ndarray) else values.data))) < NOTHING


def displayable(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Convert an image (c, h, w) with 1 or 3 channels to (h, w, 3)."""
    rgb = np.repeat(image, 3, axis=0) if image.shape[0] == 1 else image
    return np.ascontiguousarray(rgb.transpose(1, 2, 0))


def overlay(image: npt.NDArray[np.uint8], colours: npt.NDArray[Any], strength: float = 0.6) -> npt.NDArray[np.uint8]:
    """Blend colours (h, w, 3) in [0, 1] with the grey image; returns (h, w, 3) uint8."""
    grey = displayable(image).mean(axis=2, keepdims=True) / 255
    mixed: npt.NDArray[np.uint8] = ((strength * colours + (1 - strength) * grey) * 255).astype(np.uint8)
    return mixed


def feature_map(image: npt.NDArray[np.uint8], explanation: Explanations) -> npt.NDArray[np.uint8]:
    """(h, w, 3) uint8, one colour per interpretable feature."""
    return overlay(image, FEATURES(explanation.segments[0])[..., :3])


def heat_map(image: npt.NDArray[np.uint8], explanation: Explanations) -> npt.NDArray[np.uint8]:
    """(h, w, 3) uint8: red supports the explained class, blue speaks against it, grey does neither.

    The scale is -1 to 1 for EBAnO's nPIR, and relative to the item's largest attribution for other explainers, unless
    the explanation says nothing: then all is grey.
    """
    heat = np.zeros_like(explanation.heat[0]) if says_nothing(explanation) else explanation.heat[0]
    scale = 1.0 if explanation.npirp is not None else float(np.abs(heat).max()) or 1.0
    return overlay(image, HEAT((heat / scale + 1) / 2)[..., :3], strength=0.75)


def marked(text: str, explanation: Explanations) -> list[tuple[str, float]]:
    """Split the text into words, with attributions relative to the largest, and the text between them (0).

    All are 0 if the explanation says nothing, or is not of words.
    """
    if explanation.feature_kind != "words":
        return [(text, 0.0)]
    row = explanation.attributions[[0]]
    by_column = dict(zip(row.indices.tolist(), row.data.tolist(), strict=True))
    scale = max(map(abs, by_column.values()), default=0.0) or 1.0
    scale = np.inf if says_nothing(explanation) else scale
    pieces, position = [], 0
    for start, end in hashed_words.spans(text):
        if start > position:
            pieces.append((text[position:start], 0.0))
        pieces.append((text[start:end], by_column.get(hashed_words.column(text[start:end].lower()), 0.0) / scale))
        position = end
    return [*pieces, (text[position:], 0.0)] if position < len(text) else pieces


def marked_html(text: str, explanation: Explanations) -> Markup:
    """`marked` as HTML: red supports the explained class, blue speaks against it."""
    return render("marked.html", pieces=marked(text, explanation))


def top_words(
    inputs: Any, explanation: Explanations, names: Sequence[str] = (), limit: int = 5
) -> list[tuple[str, float]]:
    """The words, columns (called `names`) or concepts of largest absolute attribution, with their attributions."""
    if explanation.feature_kind == "concepts":
        values, concepts = (
            dense(explanation.attributions)[0].tolist(),
            dense(explanation.interpretable_input)[0].tolist(),
        )
        by_name = {
            f"concept {name} = {number:.3g}": value
            for name, (number, value) in enumerate(zip(concepts, values, strict=True))
        }
    elif isinstance(inputs, str):
        row = explanation.attributions[[0]]
        by_column = dict(zip(row.indices.tolist(), row.data.tolist(), strict=True))
        by_name = {word: by_column.get(hashed_words.column(word), 0.0) for word in hashed_words.tokens(inputs)}
    else:
        values = dense(explanation.attributions)[0]
        labels = names or [f"column {number}" for number in range(len(values))]
        pairs = zip(labels, np.asarray(inputs).tolist(), values.tolist(), strict=True)
        by_name = {f"{name} = {number:g}": value for name, number, value in pairs}
    return sorted(by_name.items(), key=lambda pair: -abs(pair[1]))[:limit]


def summary(inputs: Any, explanation: Explanations, names: Sequence[str] = ()) -> str:
    """One line with the largest attributions, such as `good +0.310, plot -0.120`."""
    if says_nothing(explanation):
        return SAYS_NOTHING
    return ", ".join(f"{name} {value:+.3f}" for name, value in top_words(inputs, explanation, names))


def page_of(inputs: Any, explanation: Explanations, title: str, names: Sequence[str] = ()) -> str:
    """HTML page of one explanation: a text with highlighted words, or a table row with its top column first."""
    values = explanation.attributions
    largest = np.abs(values if isinstance(values, np.ndarray) else values.data).max(initial=0)
    if isinstance(inputs, str) and explanation.feature_kind == "words":
        highlighted = marked_html(inputs, explanation)
        return render("explanation.html", title=title, marked=highlighted, rows=[], largest=largest)
    rows = top_words(inputs, explanation, names, limit=values.shape[1])
    return render("explanation.html", title=title, marked="", rows=rows, largest=largest)


def panel(
    image: npt.NDArray[np.uint8], explanation: Explanations, classes: Sequence[str], shown: Sequence[int] | None = None
) -> bytes:
    """PNG of one explanation: image, features, heat map, for EBAnO a table of the indices; concepts as bars.

    shown: the features to label with their numbers; None: all.
    """
    if explanation.feature_kind == "concepts":
        return _bars(image, explanation, classes)
    ebano = explanation.npirp is not None
    figure = Figure(figsize=(9.2 if ebano else 7.0, 2.9), dpi=110, layout="constrained")
    axes = figure.subplots(1, 4 if ebano else 3, width_ratios=[1, 1, 1, 1.1] if ebano else [1, 1, 1])
    name = classes[int(explanation.explained_class[0])]
    largest = float(np.abs(explanation.heat[0]).max())
    third = "nPIR" if ebano else f"red for, blue against, to ±{largest:.2g}"
    third = SAYS_NOTHING if says_nothing(explanation) else third
    titles = ("image", f"{int(explanation.n_features[0])} features", third)
    second = feature_map(image, explanation) if ebano else displayable(image)
    views = (displayable(image), second, heat_map(image, explanation))
    for axis, title, view in zip(axes, titles, views, strict=False):
        axis.imshow(view, interpolation="nearest")
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
    title = f"{name}, p = {explanation.probability[0]:.2f}"
    if ebano:
        _table(axes[3], explanation, title)
    else:
        _outline(axes[1], explanation.segments[0], shown)
        figure.suptitle(title, fontsize=10)
    return png(figure)


def stacked(pictures: Sequence[bytes]) -> bytes:
    """One PNG with PNGs of equal width below each other."""
    buffer = io.BytesIO()
    rows = [np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")) for picture in pictures]
    Image.fromarray(np.concatenate(rows)).save(buffer, format="png")
    return buffer.getvalue()


def _bars(image: npt.NDArray[np.uint8], explanation: Explanations, classes: Sequence[str]) -> bytes:
    figure = Figure(figsize=(6.2, 2.9), dpi=110, layout="constrained")
    shown, bars = figure.subplots(1, 2, width_ratios=[1, 1.3])
    shown.imshow(displayable(image), interpolation="nearest")
    shown.set_axis_off()
    names, values = zip(*reversed(top_words(image, explanation, limit=8)), strict=True)
    bars.barh(names, values, color=["#d64541" if value > 0 else "#3b67b2" for value in values])
    bars.axvline(0, color="grey", linewidth=0.6)
    bars.tick_params(labelsize=7)
    bars.set_title("weights of the model's concepts", fontsize=9)
    figure.suptitle(
        f"{classes[int(explanation.explained_class[0])]}, p = {explanation.probability[0]:.2f}", fontsize=10
    )
    return png(figure)


def _table(table: Any, explanation: Explanations, title: str) -> None:
    table.set_axis_off()
    table.set_title(title, fontsize=10)
    for line in range(int(explanation.n_features[0])):
        y = 0.86 - 0.16 * line
        bold = "bold" if line == explanation.top_feature[0] else "normal"
        table.scatter([0.06], [y + 0.02], color=[FEATURES(line)], s=90, marker="s")
        text = f"{line}  nPIR {explanation.npir[0, line]:+.2f}   nPIRP {explanation.npirp[0, line]:+.2f}"
        table.text(0.16, y, text, fontsize=9, weight=bold, family="monospace")
    table.set_xlim(0, 1)
    table.set_ylim(0, 1)


def _outline(axis: Any, segments: npt.NDArray[Any], shown: Sequence[int] | None) -> None:
    """Draw lines between segments and the numbers of the shown ones, unless every segment is a pixel."""
    h, w = segments.shape
    numbers = np.unique(segments)
    if len(numbers) == h * w:
        return
    row, column = np.nonzero(segments[1:] != segments[:-1])  # between a pixel and the one below it
    lines = [((x - 0.5, y + 0.5), (x + 0.5, y + 0.5)) for y, x in zip(row, column, strict=True)]
    row, column = np.nonzero(segments[:, 1:] != segments[:, :-1])
    lines += [((x + 0.5, y - 0.5), (x + 0.5, y + 0.5)) for y, x in zip(row, column, strict=True)]
    axis.add_collection(LineCollection(lines, colors="white", linewidths=0.6, capstyle="projecting"))
    for number in numbers.tolist() if shown is None else shown:
        dark = [withStroke(linewidth=1.6, foreground="black")]  # legible on light and dark images
        style = {"color": "#fbbf24", "fontsize": 6.5, "ha": "center", "va": "center", "path_effects": dark}
        axis.text(*_middle(segments == number), str(number), **style)


def _middle(segment: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """(x, y) the mean of the segment's pixels, or the pixel nearest to it if the mean lies outside."""
    y, x = np.nonzero(segment)
    if segment[round(y.mean()), round(x.mean())]:
        return float(x.mean()), float(y.mean())
    nearest = ((y - y.mean()) ** 2 + (x - x.mean()) ** 2).argmin()
    return float(x[nearest]), float(y[nearest])
