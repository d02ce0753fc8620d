"""Base classes of encoders, which turn texts into vectors, and coalitions of words too, for explainers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from xal.core import hashed_words
from xal.core.answers import check_numbers
from xal.core.registry import Component
from xal.types import Kind, Matrix, Rows, Shape

State = Mapping[str, npt.NDArray[Any]]
Masks = npt.NDArray[np.bool_]
Coalitions = Callable[[Rows, Masks], Matrix]
"""(items (n,), masks (n, m) of the words that are kept) -> (n, d) vectors."""


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts that are split into words once."""

    raw: Sequence[str]

    def __len__(self) -> int:
        return len(self.raw)

    @cached_property
    def tokens(self) -> list[list[str]]:
        """The words of each text."""
        return [hashed_words.tokens(text) for text in self.raw]

    @cached_property
    def starts(self) -> Rows:
        """(b + 1,) index of each text's first word in `flat`, and the number of all words."""
        return np.cumsum([0, *map(len, self.tokens)])

    @cached_property
    def flat(self) -> list[str]:
        """(m,) the words of all texts, in order."""
        return list(chain.from_iterable(self.tokens))

    @cached_property
    def columns(self) -> npt.NDArray[np.int32]:
        """(m,) the column of each word in the explanation space."""
        return hashed_words.columns(self.flat)

    @cached_property
    def written(self) -> list[list[str]]:
        """The words of each text in their original spelling."""
        return [[text[start:end] for start, end in hashed_words.spans(text)] for text in self.raw]

    def left(self, items: Rows, masks: Masks) -> Iterator[str]:
        """Yield n texts: of text items[i] the words in masks[i], or the original text if all are kept."""
        for item, mask in zip(items, masks, strict=True):
            written = self.written[item]
            kept = [word for word, keep in zip(written, mask.tolist(), strict=False) if keep]
            yield self.raw[item] if len(kept) == len(written) else " ".join(kept)

    def distinct_left(self, items: Rows, masks: Masks) -> tuple[list[str], Rows]:
        """(the different texts among those of `left`, (n,) the position of each text in them)."""
        left = list(self.left(items, masks))
        number_of = {text: number for number, text in enumerate(dict.fromkeys(left))}
        return list(number_of), np.array([number_of[text] for text in left], np.int64)


class Encoding(ABC):
    """A fitted encoder."""

    device = torch.device("cpu")

    bag: ClassVar[bool] = False
    """Whether its vectors are sums over words, whose columns `columns` gives."""

    def to(self, device: torch.device | str) -> Encoding:
        """The encoder on a device; stays on the CPU where it knows no other."""
        return self

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Matrix:
        """(b, d) vectors; a bag of words encodes a text without known words as zeros."""

    def vectors(self, inputs: Any) -> Matrix:
        """(b, d) `encode`d inputs; XalError for vectors of another shape, NumericalError if they are not finite."""
        vectors = self.encode(inputs)
        name = f"encoder {type(self).__name__}"
        check_numbers(name, "vectors", vectors, (len(inputs), None), "a row an item", range(len(inputs)))
        return vectors

    def coalitions(self, texts: Texts) -> Coalitions:
        """The function that encodes coalitions of the texts' words. Default: build their texts and encode them."""
        return lambda items, masks: self.vectors(list(texts.left(items, masks)))


class Kept(Encoding):
    """Stands for an encoder whose vectors are kept."""

    def encode(self, texts: Any) -> Matrix:
        """The (b, d) vectors themselves."""
        return np.asarray(texts)


@dataclass(frozen=True, kw_only=True)
class Encoder(Component, ABC, family="encoder"):
    """Base class of the encoders."""

    bag: ClassVar[bool] = False
    """Whether its vectors are sums over words, so that a linear model of them is linear in words."""
    kept: ClassVar[bool] = False
    """Whether its vectors depend on the item alone, so that they are computed once a pool and kept."""

    @property
    def kind(self) -> Kind:
        """The kind of pool that it encodes."""
        return "text"

    @property
    def pool_column(self) -> str | None:
        """The pool's column that holds its vectors, which it cannot compute; None: it computes them."""
        return None

    @property
    def provides(self) -> frozenset[str]:
        """Capabilities that explainers may require of the whole model; see `Classifier`."""
        return frozenset()

    @property
    def input_shape(self) -> Shape | None:
        """(c, h, w) of the images that it takes; None: it takes items as they are."""
        return None

    @property
    def download(self) -> str | None:
        """What it downloads when it is first loaded, its size and where it is kept; None: nothing."""
        return None

    @property
    def weights_digest(self) -> str:
        """Stands for the content of its weights, on which its vectors depend beside its settings."""
        return ""

    def fit(self, texts: Sequence[str]) -> State:
        """Return what the encoder learns from the training texts. Default: nothing."""
        return {}

    @abstractmethod
    def load(self, state: State) -> Encoding:
        """The fitted encoder with that state. Raises XalError if its package is not installed."""
