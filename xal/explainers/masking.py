"""Network outputs for items with some of their features masked.

A coalition is a subset of an item's features that is kept; its value is the network's output for the item with the
other features masked. Words of a text are left out. Patches or superpixels of an image are replaced with a blurred,
grey or black image, their mean colour, or labelled images. Columns of a table row are replaced with those of labelled
items. With several replacements, the value is the mean of the outputs. All items of a batch are evaluated together.
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
from xal.types import Kind, Output

MaskValue = Literal["blur", "grey", "black", "mean", "labelled"]
Masks = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float64]
Items = npt.NDArray[np.int64]
COALITIONS_PER_CALL = 2**17  # of one run of items, approximately
MEMORY_MB = 64
IMAGES_PER_TABLE = 64  # images whose tables are in memory at once; 1.4 MB each for the convnet
PIXELS_PER_FORWARD = 256 * 28 * 28  # of one forward pass on a CPU; 16 times as many on a GPU


class MaskedItems(ABC):
    """Base class: b items that can be masked. Masks are as wide as the largest `n_features`."""

    kind: ClassVar[Kind]

    n_features: Items  # (b,)
    max_items: ClassVar[int] = COALITIONS_PER_CALL
    """Largest number of items in a run."""
    mask_bytes: int = MEMORY_MB * 2**20
    """Of the masks of a run of items: coalitions x features of the widest item. One item may need more."""

    @abstractmethod
    def value(self, items: Items, masks: Masks) -> Values:
        """(n, c) network outputs for coalitions: output i is of item items[i] with the features in masks[i] kept."""

    @abstractmethod
    def trees(self) -> list[Tree]:
        """The tree over each item's features, for Owen values."""

    @abstractmethod
    def attributed(self, values: Values) -> dict[str, Any]:
        """The fields of `Explanations` that follow from the features' attributions (b, m)."""


@dataclass(eq=False)
class MaskedTexts(MaskedItems):
    """Texts. Every occurrence of a word is a feature."""

    kind: ClassVar[Kind] = "text"

    texts: Texts
    outputs: Any
    """(items, masks) -> (n, c) outputs."""

    def __post_init__(self) -> None:
        self.n_features = np.diff(self.texts.starts)

    def value(self, items: Items, masks: Masks) -> Values:
        """(n, c) outputs of the texts without the masked words."""
        return np.asarray(self.outputs(items, masks), np.float64)

    def trees(self) -> list[Tree]:
        """Each text halved recursively."""
        return [balanced(int(count)) for count in self.n_features]

    def attributed(self, values: Values) -> dict[str, Any]:
        """Attributions of distinct words: the sum over a word's occurrences."""
        rows = np.repeat(np.arange(len(self.n_features)), self.n_features)
        occurrences = values[rows, np.arange(len(rows)) - self.texts.starts[rows]]
        attributions, interpretable_input = hashed_words.by_word(occurrences, self.texts.columns, self.texts.starts)
        return {"feature_kind": "words", "attributions": attributions, "interpretable_input": interpretable_input}


@dataclass(eq=False)
class MaskedImages(MaskedItems):
    """Images with their own segments, such as superpixels."""

    kind: ClassVar[Kind] = "image"

    images: Tensor  # (b, c, h, w) float
    segments: Items  # (b or 1, h, w) the feature of each pixel
    mask_value: list[Tensor]  # each (b or 1, c, h, w): what masked pixels show
    outputs: Any  # images -> (n, c) outputs
    per_item: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.n_features = np.broadcast_to(self.segments.max(axis=(1, 2)) + 1, len(self.images))
        self._segments = torch.from_numpy(self.segments).to(self.images.device)

    def value(self, items: Items, masks: Masks) -> Values:
        """(n, c) outputs of the images with the masked segments replaced, in chunks of a fast size."""
        height, width = self.images.shape[2:]
        scale = 16 if self.images.is_cuda else 1
        size = max(1, scale * PIXELS_PER_FORWARD // (height * width))
        starts = range(0, len(items), size)
        return np.concatenate([self._forward(items[at : at + size], masks[at : at + size]) for at in starts])

    def _forward(self, items: Items, masks: Masks) -> Values:
        index = torch.from_numpy(items).to(self.images.device)
        kept = torch.from_numpy(masks).to(self.images.device)
        segments = self._segments[index] if len(self._segments) > 1 else self._segments.expand(len(items), -1, -1)
        shown = kept.gather(1, segments.flatten(1)).view(len(items), 1, *segments.shape[1:])
        images = self.images[index]
        total: Values | float = 0.0
        for replacement in self.mask_value:
            mask_value = replacement[index] if len(replacement) > 1 else replacement
            total = total + self.outputs(torch.where(shown, images, mask_value)).double().cpu().numpy()
        return np.asarray(total / len(self.mask_value))

    def trees(self) -> list[Tree]:
        """The segments, in the order of their first pixels, halved recursively."""
        return [balanced(int(count)) for count in self.n_features]

    def attributed(self, values: Values) -> dict[str, Any]:
        """Attributions and mean greys (0-1) of the segments; NaN beyond an image's own number of segments."""
        segments = np.broadcast_to(self.segments, (len(values), *self.segments.shape[1:])).astype(np.int32)
        exists = np.arange(values.shape[1]) < self.n_features[:, None]
        return {
            "attributions": np.where(exists, values, np.nan),
            "interpretable_input": greys(self.images, self.segments),
            "segments": segments,
            "feature_kind": "segments",
            "per_item": self.per_item,
        }


@dataclass(eq=False)
class MaskedPatches(MaskedImages):
    """Images with the patches of a grid as features, in the order of the leaves of the grid's tree."""

    tree: Tree
    rows: int
    columns: int
    classifier: Any
    output: Output
    per_item: ClassVar[bool] = False
    max_items: ClassVar[int] = IMAGES_PER_TABLE

    def __post_init__(self) -> None:
        super().__post_init__()
        single = len(self.mask_value) == 1
        self._tables = patch_tables(self.classifier, self.rows, self.columns, self.segments[0]) if single else None
        self._cached = np.empty(0, np.int64), torch.empty(0)  # items, and their table
        if self._tables is not None and len(self.images) and not self._agrees(self._tables):
            self._tables = None

    def value(self, items: Items, masks: Masks) -> Values:
        """(n, c) outputs, from tables if the network supports them."""
        if self._tables is not None and len(np.unique(items)) < len(items):  # not for one coalition per item
            return self._by_table(self._tables, items, masks)
        return super().value(items, masks)

    def _agrees(self, tables: PatchTables) -> bool:
        """Whether tables and network agree; they do not if, for example, `preprocess` depends on the whole image."""
        masks = np.arange(self.n_features[0]) % np.array([[2], [3], [5]]) > 0
        items = np.zeros(len(masks), np.int64)
        with torch.no_grad():
            return np.allclose(self._by_table(tables, items, masks), self._forward(items, masks), rtol=1e-3, atol=1e-5)

    @torch.no_grad()
    def _by_table(self, tables: PatchTables, items: Items, masks: Masks) -> Values:
        """(n, c) outputs from tables; the table is cached for further coalitions of the same items."""
        cached, table = self._cached
        if not np.isin(items, cached).all():
            cached = np.unique(items)
            index = torch.from_numpy(cached).to(self.images.device)
            mask_value = self.mask_value[0]
            table = tables.table(self.images[index], mask_value[index] if len(mask_value) > 1 else mask_value)
            self._cached = cached, table
        logits = tables.logits(table, np.searchsorted(cached, items), masks)
        outputs = torch.softmax(logits, dim=1) if self.output == "probability" else logits
        return outputs.double().cpu().numpy()

    def trees(self) -> list[Tree]:
        """The grid, halved along its longer side recursively."""
        return [self.tree] * len(self.n_features)


@dataclass(eq=False)
class MaskedTable(MaskedItems):
    """Rows of a table. Every column is a feature."""

    kind: ClassVar[Kind] = "features"

    features: Tensor  # (b, d)
    background: Tensor  # (m, d)
    outputs: Any  # rows -> (n, c) outputs

    def __post_init__(self) -> None:
        self.n_features = np.full(len(self.features), self.features.shape[1])

    def value(self, items: Items, masks: Masks) -> Values:
        """(n, c) outputs of the rows with the masked columns replaced, averaged over the background."""
        size = max(1, 2**18 // (len(self.background) * self.features.shape[1]))
        return np.concatenate(
            [self._forward(items[at : at + size], masks[at : at + size]) for at in range(0, len(items), size)]
        )

    def _forward(self, items: Items, masks: Masks) -> Values:
        kept = torch.from_numpy(masks).to(self.features.device)[:, None]
        rows = torch.where(kept, self.features[torch.from_numpy(items)][:, None], self.background[None])
        outputs = self.outputs(rows.flatten(0, 1)).double().cpu().numpy()
        return np.asarray(outputs.reshape(len(items), len(self.background), -1).mean(axis=1))

    def trees(self) -> list[Tree]:
        """The columns halved recursively."""
        return [balanced(self.features.shape[1])] * len(self.n_features)

    def attributed(self, values: Values) -> dict[str, Any]:
        """Attributions and numbers of the columns."""
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
    """Make the items of any kind maskable; parameters are those of `PerturbationExplainer`.

    Raises XalError if tables, or images with mask_value "labelled", come without baselines.
    """
    if not isinstance(inputs, Tensor):
        texts = Texts(list(inputs))
        return MaskedTexts(texts, classifier.masked_outputs(texts, output))
    outputs = outputs_function(classifier, output)
    if inputs.ndim == 2:
        return MaskedTable(inputs, needed_baselines(baselines).to(inputs), outputs)
    images = inputs if inputs.is_floating_point() else inputs.float()
    if superpixels is not None:
        segments = superpixels_of(images, superpixels)
        return MaskedImages(images, segments, _replacements(images, mask_value, segments, baselines), outputs)
    segments, tree, rows, columns = grid_of(images.shape[2], images.shape[3], patches)
    replacements = _replacements(images, mask_value, segments, baselines)
    return MaskedPatches(images, segments, replacements, outputs, tree, rows, columns, classifier, output)


def finite(values: Values) -> Values:
    """Return the values; raise NumericalError if any is not finite."""
    if not np.isfinite(values).all():
        wrong = int((~np.isfinite(values)).any(axis=1).sum())
        raise NumericalError(
            f"the network's outputs for {wrong} of {len(values)} coalitions are not finite; check the model"
        )
    return values


def _replacements(images: Tensor, mask_value: MaskValue, segments: Items, baselines: Tensor | None) -> list[Tensor]:
    if mask_value == "blur":
        return [blur(images, default_sigma(*images.shape[2:]))]
    if mask_value == "mean":
        if int(segments.max(initial=0)) + 1 == images.shape[2] * images.shape[3]:
            raise XalError(
                "mask_value: mean changes nothing where every feature is one pixel; lower patches or superpixels, "
                "or set another mask_value"
            )
        return [torch.from_numpy(filled(images.double().cpu().numpy(), segments)).to(images)]
    if mask_value == "labelled":
        return [item[None].to(images) for item in needed_baselines(baselines)]
    return [torch.full((1, 1, 1, 1), 127.5 if mask_value == "grey" else 0.0).to(images)]


def runs(masked: MaskedItems, items: Items, coalitions: Items) -> Iterator[Items]:
    """Split items into consecutive runs of limited size; coalitions: (n,) the number that each item needs."""
    first = total = widest = 0
    for index, number in enumerate(coalitions.tolist()):
        widest = max(widest, int(masked.n_features[items[index]]))
        many = total + number > COALITIONS_PER_CALL or (total + number) * widest > masked.mask_bytes
        if index > first and (many or index - first == masked.max_items):
            yield items[first:index]
            first, total, widest = index, 0, int(masked.n_features[items[index]])
        total += number
    if len(items):
        yield items[first:]
