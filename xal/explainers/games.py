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
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xal import words
from xal.encoders import Texts
from xal.errors import NumericalError, XalError
from xal.explainers.ebano.perturbation import blur, default_sigma
from xal.explainers.explainer import Explainer, Payload, outputs_function
from xal.explainers.parts import filled, greys, grid_of, superpixels_of
from xal.explainers.patchwise import Patchwise, patchwise
from xal.explainers.trees import Tree, balanced
from xal.hints import Field
from xal.types import Matrix, Output

Absent = Literal["blur", "grey", "black", "mean", "labelled"]
Masks = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float64]
Items = npt.NDArray[np.int64]
TOGETHER = 2**17  # coalitions of items that are asked about in turns, about
TABLED = 64  # images whose tables are kept at once: of the convnet's, 1.4 MB each
PIXELS = 256 * 28 * 28  # of the images that go through the network together on a CPU; 16 times as many on a GPU


class Game(ABC):
    """The games of b items; masks have a column for each player of the largest."""

    players: Items  # (b,)
    at_once: ClassVar[int] = TOGETHER
    """Items that are asked about in turns, at most."""

    @abstractmethod
    def worth(self, items: Items, masks: Masks) -> Values:
        """(n, c) network outputs for coalitions: of item items[i] the players that masks[i] keeps."""

    @abstractmethod
    def trees(self) -> list[Tree]:
        """How each item's players group, for Owen values."""

    @abstractmethod
    def attributed(self, values: Values) -> dict[str, Any]:
        """What Explanations need of values (b, m) of the players: attributions, represented, segments, own."""


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
        rows = np.repeat(np.arange(len(self.players)), self.players)
        each = values[rows, np.arange(len(rows)) - self.texts.starts[rows]]
        attributions, represented = words.by_word(each, self.texts.columns, self.texts.starts)
        return {"attributions": attributions, "represented": represented}


@dataclass(eq=False)
class ImageGame(Game):
    """Parts of images, of each image's own."""

    images: Tensor  # (b, c, h, w) float
    segments: Items  # (b or 1, h, w) the player that each pixel belongs to
    absent: list[Tensor]  # each (b or 1, c, h, w): what a player is replaced by
    ask: Any
    own: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.players = np.broadcast_to(self.segments.max(axis=(1, 2)) + 1, len(self.images))
        self._players = torch.from_numpy(self.segments).to(self.images.device)

    def worth(self, items: Items, masks: Masks) -> Values:
        """Of images with parts replaced, as many at once as are fast."""
        height, width = self.images.shape[2:]
        scale = 16 if self.images.is_cuda else 1
        size = max(1, scale * PIXELS // (height * width))
        parts = [self._some(items[at : at + size], masks[at : at + size]) for at in range(0, len(items), size)]
        return np.concatenate(parts)

    def _some(self, items: Items, masks: Masks) -> Values:
        index = torch.from_numpy(items).to(self.images.device)
        kept = torch.from_numpy(masks).to(self.images.device)
        players = self._players[index] if len(self._players) > 1 else self._players.expand(len(items), -1, -1)
        shown = kept.gather(1, players.flatten(1)).view(len(items), 1, *players.shape[1:])
        images = self.images[index]
        total: Values | float = 0.0
        for replacement in self.absent:
            absent = replacement[index] if len(replacement) > 1 else replacement
            total = total + self.ask(torch.where(shown, images, absent)).double().cpu().numpy()
        return np.asarray(total / len(self.absent))

    def trees(self) -> list[Tree]:
        """Halves of halves, in the order of their first pixels."""
        return [balanced(int(count)) for count in self.players]

    def attributed(self, values: Values) -> dict[str, Any]:
        """By part, NaN beyond an image's own; represented by the mean grey of each, 0-1."""
        segments = np.broadcast_to(self.segments, (len(values), *self.segments.shape[1:])).astype(np.int32)
        real = np.arange(values.shape[1]) < self.players[:, None]
        return {
            "attributions": np.where(real, values, np.nan),
            "represented": greys(self.images, self.segments),
            "segments": segments,
            "own": np.ones(len(values), bool) if self.own else None,
        }


@dataclass(eq=False)
class PatchGame(ImageGame):
    """Patches of a grid, in the order of the leaves of the grid's tree."""

    tree: Tree
    rows: int
    columns: int
    network: Any
    output: Output
    own: ClassVar[bool] = False
    at_once: ClassVar[int] = TABLED

    def __post_init__(self) -> None:
        super().__post_init__()
        one = len(self.absent) == 1
        self._fast = patchwise(self.network, self.rows, self.columns, self.segments[0]) if one else None
        self._tabled = np.empty(0, np.int64), torch.empty(0)  # items, and their table
        if self._fast is not None and len(self.images) and not self._agrees(self._fast):
            self._fast = None

    def worth(self, items: Items, masks: Masks) -> Values:
        """The same by table, where the network allows it."""
        if self._fast is not None and len(np.unique(items)) < len(items):  # one coalition an item is worth no table
            return self._by_table(self._fast, items, masks)
        return super().worth(items, masks)

    def _agrees(self, fast: Patchwise) -> bool:
        """Whether the tables give what the network does, which a `preprocess` of whole images, say, would prevent."""
        masks = np.arange(self.players[0]) % np.array([[2], [3], [5]]) > 0
        items = np.zeros(len(masks), np.int64)
        with torch.no_grad():
            return np.allclose(self._by_table(fast, items, masks), self._some(items, masks), rtol=1e-3, atol=1e-5)

    @torch.no_grad()
    def _by_table(self, fast: Patchwise, items: Items, masks: Masks) -> Values:
        """The table is kept for the next coalitions of the same items."""
        here, table = self._tabled
        if not np.isin(items, here).all():
            here = np.unique(items)
            index = torch.from_numpy(here).to(self.images.device)
            absent = self.absent[0]
            table = fast.table(self.images[index], absent[index] if len(absent) > 1 else absent)
            self._tabled = here, table
        logits = fast.logits(table, np.searchsorted(here, items), masks)
        answer = torch.softmax(logits, dim=1) if self.output == "probability" else logits
        return answer.double().cpu().numpy()

    def trees(self) -> list[Tree]:
        """The grid, halved along its longer side, and so on."""
        return [self.tree] * len(self.players)


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
    network: Any,
    payload: Payload,
    output: Output,
    *,
    patches: int = 7,
    superpixels: int | None = None,
    absent: Absent = "blur",
    background: int = 0,
) -> Game:
    """The game of a payload of any kind."""
    if not isinstance(payload, Tensor):
        texts = Texts(list(payload))
        return TextGame(texts, network.coalitions(texts, output))
    ask = outputs_function(network, output)
    if payload.ndim == 2:
        return TableGame(payload, background_of(network, background).to(payload), ask)
    images = payload if payload.is_floating_point() else payload.float()
    if superpixels is not None:
        segments = superpixels_of(images, superpixels)
        return ImageGame(images, segments, _replacements(network, images, absent, segments), ask)
    segments, tree, rows, columns = grid_of(images.shape[2], images.shape[3], patches)
    replacements = _replacements(network, images, absent, segments)
    return PatchGame(images, segments, replacements, ask, tree, rows, columns, network, output)


def background_of(network: Any, items: int) -> Tensor:
    """Payload of labelled items."""
    background = getattr(network, "background", None)
    if background is None:
        raise XalError("this explainer replaces what is absent by labelled items, and was given none: label some first")
    return torch.as_tensor(background)[: items or None]


def finite(values: Values) -> Values:
    """The same; NumericalError where an output is not finite."""
    if not np.isfinite(values).all():
        wrong = int((~np.isfinite(values)).any(axis=1).sum())
        raise NumericalError(f"the network's outputs for {wrong} of {len(values)} coalitions are not finite")
    return values


def _replacements(network: Any, images: Tensor, absent: Absent, segments: Items) -> list[Tensor]:
    if absent == "blur":
        return [blur(images, default_sigma(*images.shape[2:]))]
    if absent == "mean":
        if int(segments.max(initial=0)) + 1 == images.shape[2] * images.shape[3]:
            raise XalError(
                "absent: mean changes nothing where every pixel is a part; take fewer parts, or another absent"
            )
        return [torch.from_numpy(filled(images.double().cpu().numpy(), segments)).to(images)]
    if absent == "labelled":
        return [each[None].to(images) for each in background_of(network, 0)]
    return [torch.full((1, 1, 1, 1), 127.5 if absent == "grey" else 0.0).to(images)]


def runs(game: Game, items: Items, coalitions: Items) -> Iterator[Items]:
    """The items in runs that are asked about in turns, given how many coalitions each will be asked about."""
    first = total = 0
    for place, number in enumerate(coalitions.tolist()):
        if place > first and (total + number > TOGETHER or place - first == game.at_once):
            yield items[first:place]
            first, total = place, 0
        total += number
    if len(items):
        yield items[first:]


@dataclass(frozen=True, kw_only=True)
class ByCoalitions(Explainer):
    """Base of the explainers that ask a network about coalitions of words, parts or columns."""

    kinds: ClassVar[frozenset[str]] = frozenset({"image", "text", "features"})

    output: Output = "probability"
    """What is explained: the class's probability, or its margin (logit)."""
    patches: Annotated[int, Field(ge=2)] = 7
    """Images: rows and columns of the grid."""
    superpixels: Annotated[int, Field(ge=4)] | None = None
    """Images: in place of the grid, about so many superpixels (SLICO) of each image's own; null: the grid."""
    absent: Absent = "blur"
    """Images: what absent parts show; mean: their mean colour; labelled: the labelled images drawn as background."""
    background: Annotated[int, Field(ge=1)] = 8
    """Labelled items whose numbers (or parts, with absent: labelled) stand for absent ones."""

    def __post_init__(self) -> None:
        if self.superpixels is not None and self.patches != type(self).patches:
            raise XalError(
                f"patches: {self.patches} and superpixels: {self.superpixels} exclude each other; give one of them"
            )

    @property
    def background_items(self) -> int:
        """As configured."""
        return self.background

    @property
    def space(self) -> Literal["shared", "own"]:  # type: ignore[override]
        """Own where there are superpixels."""
        return "shared" if self.superpixels is None else "own"

    def unfit(self, kind: str) -> str | None:
        """Only images have superpixels."""
        if self.superpixels is not None and kind != "image":
            return f"finds superpixels in images, the pool holds {kind}; set superpixels to null"
        return super().unfit(kind)

    def game(self, network: Any, payload: Payload) -> Game:
        """The game of a payload of any kind."""
        return game_of(
            network,
            payload,
            self.output,
            patches=self.patches,
            superpixels=self.superpixels,
            absent=self.absent,
            background=self.background,
        )

    def represent(self, payload: Payload) -> Matrix:
        """Words, the mean grey of each patch or superpixel, or numbers."""
        if not isinstance(payload, Tensor) or payload.ndim != 4:
            return super().represent(payload)
        if self.superpixels is None:
            segments = grid_of(payload.shape[2], payload.shape[3], self.patches)[0]
        else:
            segments = superpixels_of(payload, self.superpixels)
        return greys(payload, segments)
