"""Bags of words: TF-IDF, hashed counts and presence, weighted as in scikit-learn.

Coalitions of words are encoded from the counts of their words, without building their texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from xal.core import hashed_words
from xal.core._typing import Field
from xal.encoders.encoder import Coalitions, Encoder, Encoding, Masks, State, Texts
from xal.errors import DataError
from xal.types import Matrix, Rows

Columns = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False, kw_only=True)
class Bag(Encoding):
    """Encodes texts as weighted counts of their words, (b, d) sparse."""

    bag: ClassVar[bool] = True

    width: int
    columns: Callable[[Texts], Columns]
    """Texts -> (m,) the column of every word; -1 for a word out of the vocabulary."""
    weigh: Callable[[Matrix], Matrix]
    """Counts -> vectors of the same shape; may overwrite the counts."""

    def encode(self, texts: Sequence[str]) -> Matrix:
        """(b, d) sparse vectors."""
        split = Texts(texts)
        rows = np.repeat(np.arange(len(split)), np.diff(split.starts))
        return self._weighted(rows, self.columns(split), len(split))

    def coalitions(self, texts: Texts) -> Coalitions:
        """As the base class, from word counts."""
        columns, starts = self.columns(texts), texts.starts

        def encode(items: Rows, masks: Masks) -> Matrix:
            rows, words = np.nonzero(masks)
            return self._weighted(rows, columns[starts[items[rows]] + words], len(masks))

        return encode

    def _weighted(self, rows: Rows, columns: Columns, n: int) -> Matrix:
        in_vocabulary = columns >= 0
        if not in_vocabulary.all():
            rows, columns = rows[in_vocabulary], columns[in_vocabulary]
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))]).astype(np.int32)
        counts = sparse.csr_array((np.ones(len(columns)), columns, starts), shape=(n, self.width))
        counts.sum_duplicates()
        return self.weigh(counts)


def _normalized(vectors: Matrix) -> Matrix:
    """Divide every row by its length in place, except rows of zeros."""
    rows = np.repeat(np.arange(vectors.shape[0]), np.diff(vectors.indptr))
    length = np.sqrt(np.bincount(rows, vectors.data**2, vectors.shape[0]))
    vectors.data /= np.where(length > 0, length, 1)[rows]
    return vectors


@dataclass(frozen=True, kw_only=True)
class Tfidf(Encoder, name="tfidf"):
    """scikit-learn's TF-IDF, with vocabulary and document frequencies of the training texts and rows of length 1."""

    bag: ClassVar[bool] = True

    min_texts: Annotated[int, Field(ge=1)] = 1
    """Words in fewer training texts are left out of the vocabulary."""
    sublinear: bool = False
    """Replace a count with 1 + log(count)."""

    def fit(self, texts: Sequence[str]) -> State:
        """Return vocabulary and idf. Raises DataError if no word is in `min_texts` texts."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        split: Any = {"tokenizer": hashed_words.tokens, "token_pattern": None, "lowercase": False}
        vectorizer = TfidfVectorizer(min_df=self.min_texts, **split)
        try:
            vectorizer.fit(texts)
        except ValueError as error:
            raise DataError(
                f"encoder tfidf: expected words in at least {self.min_texts} of {len(texts)} training texts, found "
                "none; lower min_texts"
            ) from error
        names = "\n".join(vectorizer.get_feature_names_out())
        return {"vocabulary": np.frombuffer(names.encode(), np.uint8), "idf": vectorizer.idf_}

    def load(self, state: State) -> Encoding:
        """A `Bag` over the vocabulary."""
        names = state["vocabulary"].tobytes().decode().split("\n")
        column_of, idf = {name: number for number, name in enumerate(names)}, state["idf"]

        def weigh(counts: Matrix) -> Matrix:
            if self.sublinear:
                counts.data = 1 + np.log(counts.data)
            counts.data *= idf[counts.indices]
            return _normalized(counts)

        def columns(texts: Texts) -> Columns:
            return np.fromiter(map(column_of.get, texts.flat, repeat(-1)), np.int32, len(texts.flat))

        return Bag(width=len(names), columns=columns, weigh=weigh)


@dataclass(frozen=True, kw_only=True)
class Hashing(Encoder, name="hashing"):
    """Counts of hashed words, rows of length 1. It has no vocabulary, so there is nothing to fit."""

    bag: ClassVar[bool] = True

    bits: Annotated[int, Field(ge=4, le=20)] = 16
    """The number of columns is 2^bits."""

    def load(self, state: State) -> Encoding:
        """A `Bag` over the hashes."""
        width = 2**self.bits
        return Bag(width=width, columns=lambda texts: texts.columns % width, weigh=_normalized)


@dataclass(frozen=True, kw_only=True)
class Presence(Encoder, name="presence"):
    """1 for every hashed word that the text contains, else 0."""

    bag: ClassVar[bool] = True

    bits: Annotated[int, Field(ge=4, le=20)] = 16
    """The number of columns is 2^bits."""

    def load(self, state: State) -> Encoding:
        """A `Bag` over the hashes."""

        def weigh(counts: Matrix) -> Matrix:
            counts.data[:] = 1
            return counts

        width = 2**self.bits
        return Bag(width=width, columns=lambda texts: texts.columns % width, weigh=weigh)
