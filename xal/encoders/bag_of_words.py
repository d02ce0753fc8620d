"""Bags of words: TF-IDF, hashed counts, presence. What is left of a text is a sum over its words, so is fast to find.

The weights are scikit-learn's; coalitions of words are counted here, without writing their texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Annotated, ClassVar

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
    """Weighted counts of words."""

    width: int
    columns: Callable[[Texts], Columns]
    """(m,) the column of every word of the texts; -1 where it is unknown."""
    weigh: Callable[[Matrix], Matrix]
    """Counts -> vectors; may overwrite the counts."""

    def encode(self, texts: Sequence[str]) -> Matrix:
        """(b, d) sparse."""
        cut = Texts(texts)
        rows = np.repeat(np.arange(len(cut)), np.diff(cut.starts))
        return self._weighed(rows, self.columns(cut), len(cut))

    def coalitions(self, texts: Texts) -> Coalitions:
        """By their counts."""
        columns, starts = self.columns(texts), texts.starts

        def encode(items: Rows, masks: Masks) -> Matrix:
            rows, places = np.nonzero(masks)
            return self._weighed(rows, columns[starts[items[rows]] + places], len(masks))

        return encode

    def _weighed(self, rows: Rows, columns: Columns, n: int) -> Matrix:
        known = columns >= 0
        if not known.all():
            rows, columns = rows[known], columns[known]
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))]).astype(np.int32)
        counts = sparse.csr_array((np.ones(len(columns)), columns, starts), shape=(n, self.width))
        counts.sum_duplicates()
        return self.weigh(counts)


def _unit(vectors: Matrix) -> Matrix:
    """Rows of length 1, or 0."""
    rows = np.repeat(np.arange(vectors.shape[0]), np.diff(vectors.indptr))
    length = np.sqrt(np.bincount(rows, vectors.data**2, vectors.shape[0]))
    vectors.data /= np.where(length > 0, length, 1)[rows]
    return vectors


@dataclass(frozen=True, kw_only=True)
class Tfidf(Encoder, name="tfidf"):
    """TF-IDF with words and document frequencies of the training texts, rows of length 1, as scikit-learn weighs."""

    bag: ClassVar[bool] = True

    min_texts: Annotated[int, Field(ge=1)] = 1
    """Words of fewer training texts are unknown."""
    sublinear: bool = False
    """1 + log of a count, in nats, in place of the count."""

    def fit(self, texts: Sequence[str]) -> State:
        """Vocabulary and idf; raises DataError where no word is left."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(token_pattern=hashed_words.PATTERN, min_df=self.min_texts)
        try:
            vectorizer.fit(texts)
        except ValueError as error:
            raise DataError(
                f"encoder tfidf: no word is in {self.min_texts} of the {len(texts)} training texts; lower min_texts"
            ) from error
        names = "\n".join(vectorizer.get_feature_names_out())
        return {"vocabulary": np.frombuffer(names.encode(), np.uint8), "idf": vectorizer.idf_}

    def load(self, state: State) -> Encoding:
        """A bag over the vocabulary."""
        names = state["vocabulary"].tobytes().decode().split("\n")
        known, idf = {name: number for number, name in enumerate(names)}, state["idf"]

        def weigh(counts: Matrix) -> Matrix:
            if self.sublinear:
                counts.data = 1 + np.log(counts.data)
            counts.data *= idf[counts.indices]
            return _unit(counts)

        def columns(texts: Texts) -> Columns:
            return np.fromiter(map(known.get, texts.flat, repeat(-1)), np.int32, len(texts.flat))

        return Bag(width=len(names), columns=columns, weigh=weigh)


@dataclass(frozen=True, kw_only=True)
class Hashing(Encoder, name="hashing"):
    """Counts of hashed words, rows of length 1; nothing to fit, and no word is unknown."""

    bag: ClassVar[bool] = True

    bits: Annotated[int, Field(ge=4, le=20)] = 16
    """2^bits columns."""

    def load(self, state: State) -> Encoding:
        """A bag over the hashes."""
        width = 2**self.bits
        return Bag(width=width, columns=lambda texts: texts.columns % width, weigh=_unit)


@dataclass(frozen=True, kw_only=True)
class Presence(Encoder, name="presence"):
    """1 where the text has the word (hashed), else 0."""

    bag: ClassVar[bool] = True

    bits: Annotated[int, Field(ge=4, le=20)] = 16
    """2^bits columns."""

    def load(self, state: State) -> Encoding:
        """A bag over the hashes."""

        def weigh(counts: Matrix) -> Matrix:
            counts.data[:] = 1
            return counts

        width = 2**self.bits
        return Bag(width=width, columns=lambda texts: texts.columns % width, weigh=weigh)
