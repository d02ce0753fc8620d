"""Items as cooperative games: the players are an item's features, a coalition's worth is the network's output on what
is left of the item when the others are taken away.

A text's players are its words, taken away by leaving them out; an image's are patches or superpixels, replaced by a
blurred, grey, or black image, their mean colour, or labelled images; a table's are columns, replaced by those of
labelled items. Where there are several replacements the outputs are averaged. All items of a batch are asked about
together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xal.core import hashed_words
from xal.encoders import Texts
from xal.errors import NumericalError, XalError
from xal.explainers.ebano.perturbation import blur, default_sigma
from xal.explainers.explainer import Inputs, needed_baselines, outputs_function
from xal.explainers.partition_tree import Tree, balanced
from xal.explainers.patch_tables import PatchTables, patch_tables
from xal.explainers.segmentation import filled, greys, grid_of, superpixels_of
from xal.types import Output

MaskValue = Literal["blur", "grey", "black", "mean", "labelled"]
Masks = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float64]
Items = npt.NDArray[np.int64]
COALITIONS_PER_CALL = 2**17  # coalitions of items that are asked about in turns, about
IMAGES_PER_TABLE = 64  # images whose tables are kept at once: of the convnet's, 1.4 MB each
PIXELS_PER_FORWARD = 256 * 28 * 28  # of images that are classified together on a CPU; 16 times as many on a GPU


class MaskedItems(ABC):
    """The games of b items; masks have a column for each player of the largest."""

    players: Items  # (b,)
    at_once: ClassVar[int] = COALITIONS_PER_CALL
    """Items that are asked about in turns, at most."""

    @abstractmethod
    def value(self, items: Items, masks: Masks) -> Values:
        """(n, c) network outputs for coalitions: of item items[i] the players that masks[i] keeps."""

    @abstractmethod
    def trees(self) -> list[Tree]:
        """How each item's players group, for Owen values."""

    @abstractmethod
    def attributed(self, values: Values) -> dict[str, Any]:
        """What Explanations need of values (b, m) of the players: attributions, interpretable_input, segments, own."""


@dataclass(eq=False)
class MaskedTexts(MaskedItems):
    """Words, each time they come a player of their own."""

    texts: Texts
    ask: Any
    """Coalitions -> (n, c)."""

    def __post_init__(self) -> None:
        self.players = np.diff(self.texts.starts)

    def value(self, items: Items, masks: Masks) -> Values:
        """Of what is left of the texts."""
        return np.asarray(self.ask(items, masks), np.float64)

    def trees(self) -> list[Tree]:
        """Halves of halves of the text."""
        return [balanced(int(count)) for count in self.players]

    def attributed(self, values: Values) -> dict[str, Any]:
        """By word: those of a word that comes twice are added."""
        rows = np.repeat(np.arange(len(self.players)), self.players)
        each = values[rows, np.arange(len(rows)) - self.texts.starts[rows]]
        attributions, interpretable_input = hashed_words.by_word(each, self.texts.columns, self.texts.starts)
        return {"feature_kind": "words", "attributions": attributions, "interpretable_input": interpretable_input}


@dataclass(eq=False)
class MaskedImages(MaskedItems):
    """Parts of images, of each image's own."""

    images: Tensor  # (b, c, h, w) float
    segments: Items  # (b or 1, h, w) the player that each pixel belongs to
    mask_value: list[Tensor]  # each (b or 1, c, h, w): what a player is replaced by
    ask: Any
    per_item: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.players = np.broadcast_to(self.segments.max(axis=(1, 2)) + 1, len(self.images))
        self._players = torch.from_numpy(self.segments).to(self.images.device)

    def value(self, items: Items, masks: Masks) -> Values:
        """Of images with parts replaced, as many at once as are fast."""
        height, width = self.images.shape[2:]
        scale = 16 if self.images.is_cuda else 1
        size = max(1, scale * PIXELS_PER_FORWARD // (height * width))
        parts = [self._some(items[at : at + size], masks[at : at + size]) for at in range(0, len(items), size)]
        return np.concatenate(parts)

    def _some(self, items: Items, masks: Masks) -> Values:
        index = torch.from_numpy(items).to(self.images.device)
        kept = torch.from_numpy(masks).to(self.images.device)
        players = self._players[index] if len(self._players) > 1 else self._players.expand(len(items), -1, -1)
        shown = kept.gather(1, players.flatten(1)).view(len(items), 1, *players.shape[1:])
        images = self.images[index]
        total: Values | float = 0.0
        for replacement in self.mask_value:
            mask_value = replacement[index] if len(replacement) > 1 else replacement
            total = total + self.ask(torch.where(shown, images, mask_value)).double().cpu().numpy()
        return np.asarray(total / len(self.mask_value))

    def trees(self) -> list[Tree]:
        """Halves of halves, in the order of their first pixels."""
        return [balanced(int(count)) for count in self.players]

    def attributed(self, values: Values) -> dict[str, Any]:
        """By part, NaN beyond an image's own; interpretable_input by the mean grey of each, 0-1."""
        segments = np.broadcast_to(self.segments, (len(values), *self.segments.shape[1:])).astype(np.int32)
        real = np.arange(values.shape[1]) < self.players[:, None]
        return {
            "attributions": np.where(real, values, np.nan),
            "interpretable_input": greys(self.images, self.segments),
            "segments": segments,
            "feature_kind": "segments",
            "per_item": self.per_item,
        }


@dataclass(eq=False)
class MaskedPatches(MaskedImages):
    """Patches of a grid, in the order of the leaves of the grid's tree."""

    tree: Tree
    rows: int
    columns: int
    classifier: Any
    output: Output
    per_item: ClassVar[bool] = False
    at_once: ClassVar[int] = IMAGES_PER_TABLE

    def __post_init__(self) -> None:
        super().__post_init__()
        one = len(self.mask_value) == 1
        self._fast = patch_tables(self.classifier, self.rows, self.columns, self.segments[0]) if one else None
        self._tabled = np.empty(0, np.int64), torch.empty(0)  # items, and their table
        if self._fast is not None and len(self.images) and not self._agrees(self._fast):
            self._fast = None

    def value(self, items: Items, masks: Masks) -> Values:
        """The same by table, where the network allows it."""
        if self._fast is not None and len(np.unique(items)) < len(items):  # one coalition an item is worth no table
            return self._by_table(self._fast, items, masks)
        return super().value(items, masks)

    def _agrees(self, fast: PatchTables) -> bool:
        """Whether the tables give what the network does, which a `preprocess` of whole images, say, would prevent."""
        masks = np.arange(self.players[0]) % np.array([[2], [3], [5]]) > 0
        items = np.zeros(len(masks), np.int64)
        with torch.no_grad():
            return np.allclose(self._by_table(fast, items, masks), self._some(items, masks), rtol=1e-3, atol=1e-5)

    @torch.no_grad()
    def _by_table(self, fast: PatchTables, items: Items, masks: Masks) -> Values:
        """The table is kept for the next coalitions of the same items."""
        here, table = self._tabled
        if not np.isin(items, here).all():
            here = np.unique(items)
            index = torch.from_numpy(here).to(self.images.device)
            mask_value = self.mask_value[0]
            table = fast.table(self.images[index], mask_value[index] if len(mask_value) > 1 else mask_value)
            self._tabled = here, table
        logits = fast.logits(table, np.searchsorted(here, items), masks)
        answer = torch.softmax(logits, dim=1) if self.output == "probability" else logits
        return answer.double().cpu().numpy()

    def trees(self) -> list[Tree]:
        """The grid, halved along its longer side, and so on."""
        return [self.tree] * len(self.players)


@dataclass(eq=False)
class MaskedTable(MaskedItems):
    """Columns, in their own order."""

    features: Tensor  # (b, d)
    background: Tensor  # (m, d)
    ask: Any

    def __post_init__(self) -> None:
        self.players = np.full(len(self.features), self.features.shape[1])

    def value(self, items: Items, masks: Masks) -> Values:
        """The mean over the background of rows with columns replaced."""
        size = max(1, 2**18 // (len(self.background) * self.features.shape[1]))
        return np.concatenate(
            [self._some(items[at : at + size], masks[at : at + size]) for at in range(0, len(items), size)]
        )

    def _some(self, items: Items, masks: Masks) -> Values:
        kept = torch.from_numpy(masks).to(self.features.device)[:, None]
        rows = torch.where(kept, self.features[torch.from_numpy(items)][:, None], self.background[None])
        answers = self.ask(rows.flatten(0, 1)).double().cpu().numpy()
        return np.asarray(answers.reshape(len(items), len(self.background), -1).mean(axis=1))

    def trees(self) -> list[Tree]:
        """Halves of halves of the columns."""
        return [balanced(self.features.shape[1])] * len(self.players)

    def attributed(self, values: Values) -> dict[str, Any]:
        """By column; interpretable_input by its numbers."""
        interpretable_input = self.features.double().cpu().numpy()
        return {"feature_kind": "columns", "attributions": values, "interpretable_input": interpretable_input}


def mask_items(
    classifier: Any,
    inputs: Inputs,
    output: Output,
    *,
    patches: int = 7,
    superpixels: int | None = None,
    mask_value: MaskValue = "blur",
    baselines: Tensor | None = None,
) -> MaskedItems:
    """The game of a payload of any kind."""
    if not isinstance(inputs, Tensor):
        texts = Texts(list(inputs))
        return MaskedTexts(texts, classifier.masked_outputs(texts, output))
    ask = outputs_function(classifier, output)
    if inputs.ndim == 2:
        return MaskedTable(inputs, needed_baselines(baselines).to(inputs), ask)
    images = inputs if inputs.is_floating_point() else inputs.float()
    if superpixels is not None:
        segments = superpixels_of(images, superpixels)
        return MaskedImages(images, segments, _replacements(images, mask_value, segments, baselines), ask)
    segments, tree, rows, columns = grid_of(images.shape[2], images.shape[3], patches)
    replacements = _replacements(images, mask_value, segments, baselines)
    return MaskedPatches(images, segments, replacements, ask, tree, rows, columns, classifier, output)


def finite(values: Values) -> Values:
    """The same; NumericalError where an output is not finite."""
    if not np.isfinite(values).all():
        wrong = int((~np.isfinite(values)).any(axis=1).sum())
        raise NumericalError(f"the network's outputs for {wrong} of {len(values)} coalitions are not finite")
    return values


def _replacements(images: Tensor, mask_value: MaskValue, segments: Items, baselines: Tensor | None) -> list[Tensor]:
    if mask_value == "blur":
        return [blur(images, default_sigma(*images.shape[2:]))]
    if mask_value == "mean":
        if int(segments.max(initial=0)) + 1 == images.shape[2] * images.shape[3]:
            raise XalError(
                "mask_value: mean changes nothing where every pixel is a part; take fewer parts, or another absent"
            )
        return [torch.from_numpy(filled(images.double().cpu().numpy(), segments)).to(images)]
    if mask_value == "labelled":
        return [each[None].to(images) for each in needed_baselines(baselines)]
    return [torch.full((1, 1, 1, 1), 127.5 if mask_value == "grey" else 0.0).to(images)]


def runs(masked: MaskedItems, items: Items, coalitions: Items) -> Iterator[Items]:
    """The items in runs that are asked about in turns, given how many coalitions each will be asked about."""
    first = total = 0
    for place, number in enumerate(coalitions.tolist()):
        if place > first and (total + number > COALITIONS_PER_CALL or place - first == masked.at_once):
            yield items[first:place]
            first, total = place, 0
        total += number
    if len(items):
        yield items[first:]
