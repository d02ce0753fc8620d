"""What turns texts into vectors, and answers for the coalitions of words that explainers ask about."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from xal.core import hashed_words
from xal.core.registry import Component
from xal.types import Matrix, Rows

State = Mapping[str, npt.NDArray[Any]]
Masks = npt.NDArray[np.bool_]
Coalitions = Callable[[Rows, Masks], Matrix]
"""((n,) items, (n, m) which of an item's words are kept) -> (n, d) vectors of what is left."""


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts cut into words once."""

    raw: Sequence[str]

    def __len__(self) -> int:
        return len(self.raw)

    @cached_property
    def tokens(self) -> list[list[str]]:
        """The words of each text."""
        return [hashed_words.tokens(text) for text in self.raw]

    @cached_property
    def starts(self) -> Rows:
        """(b + 1,) where each text's words begin among all."""
        return np.cumsum([0, *map(len, self.tokens)])

    @cached_property
    def flat(self) -> list[str]:
        """(m,) all words, one text after another."""
        return list(chain.from_iterable(self.tokens))

    @cached_property
    def columns(self) -> npt.NDArray[np.int32]:
        """(m,) the column of each word in the explanation space."""
        return hashed_words.columns(self.flat)

    @cached_property
    def written(self) -> list[list[str]]:
        """The words of each text as they are written."""
        return [[text[start:end] for start, end in hashed_words.spans(text)] for text in self.raw]

    def left(self, items: Rows, masks: Masks) -> Iterator[str]:
        """The n texts of coalitions: of text items[i] the words that masks[i] keeps; all: the text as it is."""
        for item, mask in zip(items, masks, strict=True):
            written = self.written[item]
            kept = [word for word, keep in zip(written, mask.tolist(), strict=False) if keep]
            yield self.raw[item] if len(kept) == len(written) else " ".join(kept)


class Encoding(ABC):
    """An encoder with what it has learned."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Matrix:
        """(b, d) vectors; a text without a word that it knows is 0 where the encoder is a bag of words."""

    def coalitions(self, texts: Texts) -> Coalitions:
        """What is left of the texts when words are taken away; by default the texts are written anew and encoded."""

        return lambda items, masks: self.encode(list(texts.left(items, masks)))


@dataclass(frozen=True, kw_only=True)
class Encoder(Component, ABC, family="encoder"):
    """Base of the encoders, of texts unless `kind` says otherwise."""

    kind: ClassVar[Literal["text", "features"]] = "text"
    """What it encodes."""
    bag: ClassVar[bool] = False
    """Whether its vectors are sums over words, so that a linear model of them is linear in words."""

    def fit(self, texts: Sequence[str]) -> State:
        """What is learned from the training texts; by default nothing."""
        return {}

    @abstractmethod
    def load(self, state: State) -> Encoding:
        """Ready to encode; raises XalError where its package is not installed."""
