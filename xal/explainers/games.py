"""Items as cooperative games: the players are an item's features, a coalition's worth is the network's output on what
is left of the item when the others are taken away.

A text's players are its words, taken away by leaving them out; an image's are patches, replaced by a blurred, grey, or
black image, or by labelled images; a table's are columns, replaced by those of labelled items. Where there are several
replacements the outputs are averaged. All items of a batch are asked about together.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from xal import words
from xal.encoders import Texts
from xal.errors import NumericalError, XalError
from xal.explainers.ebano.perturbation import blur, default_sigma
from xal.explainers.explainer import Output, Payload, outputs_function
from xal.explainers.patchwise import Patchwise, patchwise
from xal.explainers.trees import Tree, balanced, grid
from xal.types import Matrix

Absent = Literal["blur", "grey", "black", "labelled"]
Masks = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float64]
Items = npt.NDArray[np.int64]
TABLED = 64  # images whose tables are kept at once: of the convnet's, 1.4 MB each
PIXELS = 256 * 28 * 28  # of the images that go through the network together on a CPU; 16 times as many on a GPU


class Game(ABC):
    """The games of b items; masks have a column for each player of the largest."""

    players: Items  # (b,)

    @abstractmethod
    def worth(self, items: Items, masks: Masks) -> Values:
        """(n, c) network outputs for coalitions: of item items[i] the players that masks[i] keeps."""

    @abstractmethod
    def trees(self) -> list[Tree]:
        """How each item's players group, for Owen values."""

    @abstractmethod
    def attributed(self, values: Values) -> dict[str, Any]:
        """What Explanations need of values (b, m) of the players: attributions, represented, segments."""


@dataclass(eq=False)
class TextGame(Game):
    """Words, each time they come a player of their own."""

    texts: Texts
    ask: Any
    """Coalitions -> (n, c)."""

    def __post_init__(self) -> None:
        self.players = np.diff(self.texts.starts)

    def worth(self, items: Items, masks: Masks) -> Values:
        """Of what is left of the texts."""
        return np.asarray(self.ask(items, masks), np.float64)

    def trees(self) -> list[Tree]:
        """Halves of halves of the text."""
        return [balanced(int(count)) for count in self.players]

    def attributed(self, values: Values) -> dict[str, Any]:
        """By word: those of a word that comes twice are added."""
        b = len(self.players)
        rows = np.repeat(np.arange(b), self.players)
        places = np.arange(len(rows)) - self.texts.starts[rows]
        shape = (b, words.COLUMNS)
        attributions = sparse.csr_array((values[rows, places], self.texts.columns, self.texts.starts), shape=shape)
        attributions.sum_duplicates()
        ones = np.ones(len(attributions.data))
        represented = sparse.csr_array((ones, attributions.indices, attributions.indptr), shape=shape)
        return {"attributions": attributions, "represented": represented}


@dataclass(eq=False)
class ImageGame(Game):
    """Patches of a grid, in the order of the leaves of the grid's tree."""

    images: Tensor  # (b, c, h, w) float
    absent: list[Tensor]  # each (b or 1, c, h, w): what a patch is replaced by
    ask: Any
    rows: int
    columns: int
    network: Any = None
    output: Output = "probability"

    def __post_init__(self) -> None:
        b, _, h, w = self.images.shape
        self.rows, self.columns = min(self.rows, h), min(self.columns, w)
        self.players = np.full(b, self.rows * self.columns)
        self._tree, order = grid(self.rows, self.columns)
        places = np.empty(self.rows * self.columns, np.int64)
        places[order] = np.arange(len(order))  # the player of each patch
        row, column = np.arange(h) * self.rows // h, np.arange(w) * self.columns // w
        self.segments = places.reshape(self.rows, self.columns)[row[:, None], column]
        self._players = torch.from_numpy(self.segments).to(self.images.device)
        self._fast = patchwise(self.network, self.rows, self.columns, self.segments) if len(self.absent) == 1 else None
        self._tabled: tuple[npt.NDArray[np.int64], Tensor] | None = None

    def worth(self, items: Items, masks: Masks) -> Values:
        """Of images with patches replaced, as many at once as are fast."""
        if self._fast is not None:
            return self._by_table(self._fast, items, masks)
        height, width = self.images.shape[2:]
        scale = 16 if self.images.is_cuda else 1
        size = max(1, scale * PIXELS // (height * width))
        parts = [self._some(items[at : at + size], masks[at : at + size]) for at in range(0, len(items), size)]
        return np.concatenate(parts)

    @torch.no_grad()
    def _by_table(self, fast: Patchwise, items: Items, masks: Masks) -> Values:
        """The same, some items after others; their tables are kept for the next coalitions of the same items."""
        distinct = np.unique(items)
        known = self._tabled is not None and np.isin(distinct, self._tabled[0]).all()
        if not known and len(distinct) > TABLED:
            worth: Values | None = None
            for part in np.array_split(distinct, -(-len(distinct) // TABLED)):
                chosen = np.isin(items, part)
                some = self._by_table(fast, items[chosen], masks[chosen])
                worth = np.empty((len(items), some.shape[1])) if worth is None else worth
                worth[chosen] = some
            return np.asarray(worth)
        if not known:
            index = torch.from_numpy(distinct).to(self.images.device)
            absent = self.absent[0][index] if len(self.absent[0]) > 1 else self.absent[0]
            self._tabled = distinct, fast.table(self.images[index], absent)
        assert self._tabled is not None
        logits = fast.logits(self._tabled[1], np.searchsorted(self._tabled[0], items), masks)
        answer = torch.softmax(logits, dim=1) if self.output == "probability" else logits
        return answer.double().cpu().numpy()

    def _some(self, items: Items, masks: Masks) -> Values:
        index = torch.from_numpy(items).to(self.images.device)
        kept = torch.from_numpy(masks).to(self.images.device)[:, self._players][:, None]
        images = self.images[index]
        total: Values | float = 0.0
        for replacement in self.absent:
            absent = replacement[index] if len(replacement) > 1 or len(self.images) == 1 else replacement
            total = total + self.ask(torch.where(kept, images, absent)).double().cpu().numpy()
        return np.asarray(total / len(self.absent))

    def trees(self) -> list[Tree]:
        """The grid, halved along its longer side, and so on."""
        return [self._tree] * len(self.players)

    def attributed(self, values: Values) -> dict[str, Any]:
        """By patch; represented by the mean grey of each, 0-1."""
        segments = np.broadcast_to(self.segments.astype(np.int32), (len(values), *self.segments.shape)).copy()
        return {"attributions": values, "represented": self.represented(), "segments": segments}

    def represented(self) -> Values:
        """(b, players) mean grey of each patch, 0-1."""
        grey = self.images.double().mean(dim=1).flatten(1).cpu().numpy() / 255
        pixels = self.segments.ravel()
        belongs = np.eye(self.rows * self.columns)[pixels]
        return np.asarray(grey @ (belongs / belongs.sum(axis=0)))


@dataclass(eq=False)
class TableGame(Game):
    """Columns, in their own order."""

    features: Tensor  # (b, d)
    background: Tensor  # (m, d)
    ask: Any

    def __post_init__(self) -> None:
        self.players = np.full(len(self.features), self.features.shape[1])

    def worth(self, items: Items, masks: Masks) -> Values:
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
        """By column; represented by its numbers."""
        return {"attributions": values, "represented": self.features.double().cpu().numpy()}


def game_of(
    network: Any, payload: Payload, output: Output, *, patches: int = 7, absent: Absent = "blur", background: int = 0
) -> Game:
    """The game of a payload of any kind."""
    if not isinstance(payload, Tensor):
        texts = Texts(list(payload))
        return TextGame(texts, network.coalitions(texts, output))
    ask = outputs_function(network, output)
    if payload.ndim == 2:
        return TableGame(payload, background_of(network, background).to(payload), ask)
    images = payload if payload.is_floating_point() else payload.float()
    return ImageGame(images, _replacements(network, images, absent), ask, patches, patches, network, output)


def background_of(network: Any, items: int) -> Tensor:
    """Payload of labelled items."""
    background = getattr(network, "background", None)
    if background is None:
        raise XalError("this explainer replaces what is absent by labelled items, and was given none: label some first")
    return torch.as_tensor(background)[: items or None]


def represent_patches(images: Tensor, patches: int) -> Matrix:
    """(b, players) of images, as their explanations by patches hold it."""
    return ImageGame(images.float(), [], None, patches, patches).represented()


def finite(values: Values) -> Values:
    """The same; NumericalError where an output is not finite."""
    if not np.isfinite(values).all():
        wrong = int((~np.isfinite(values)).any(axis=1).sum())
        raise NumericalError(f"the network's outputs for {wrong} of {len(values)} coalitions are not finite")
    return values


def _replacements(network: Any, images: Tensor, absent: Absent) -> list[Tensor]:
    if absent == "blur":
        return [blur(images, default_sigma(*images.shape[2:]))]
    if absent == "labelled":
        return [each[None].to(images) for each in background_of(network, 0)]
    return [torch.full((1, 1, 1, 1), 127.5 if absent == "grey" else 0.0).to(images)]


def micro(items: Items, most: int) -> list[slice]:
    """Runs of items whose numbers sum to `most` at most (or that are one item)."""
    starts, total = [0], 0
    for place, number in enumerate(items.tolist()):
        if total and total + number > most:
            starts.append(place)
            total = 0
        total += number
    return (
        [slice(a, b) for a, b in zip(starts, [*starts[1:], len(items)], strict=True)] if math.prod(items.shape) else []
    )
