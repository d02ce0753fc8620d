"""Words: what a text is cut into, and the space of word presence in which texts are explained and retrieved.

A word is a run of letters, digits or underscores, in lower case. Its column is a hash, so the space needs no
vocabulary, is the same for every pool, model and worker, and never grows: of 20,000 words some 1 % share a column
with another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from zlib import crc32

import numpy as np
import numpy.typing as npt
from scipy import sparse

from xal.types import Matrix

COLUMNS = 2**20
PATTERN = r"\w+"
_WORD = re.compile(PATTERN)


def tokens(text: str) -> list[str]:
    """The words of a text in order."""
    return list(map(str.lower, _WORD.findall(text)))  # cut as `spans` does: lower case may add marks


def spans(text: str) -> list[tuple[int, int]]:
    """Where the words of a text begin and end."""
    return [match.span() for match in _WORD.finditer(text)]


@lru_cache(maxsize=2**18)
def column(word: str) -> int:
    """The column of a word."""
    return crc32(word.encode()) % COLUMNS


def columns(words: Sequence[str]) -> npt.NDArray[np.int32]:
    """(m,) the column of each word."""
    return np.fromiter(map(column, words), np.int32, len(words))


def presence(texts: Sequence[str]) -> Matrix:
    """(b, COLUMNS) 1 where the text has the word."""
    found = [sorted({column(word) for word in tokens(text)}) for text in texts]
    return from_lists(np.cumsum([0, *map(len, found)]), np.fromiter(chain.from_iterable(found), np.int32))


def from_lists(offsets: npt.NDArray[np.int64], flat: npt.NDArray[np.int32]) -> Matrix:
    """(b, COLUMNS) presence from columns one text after another, those of text i at offsets[i]:offsets[i + 1]."""
    ones = np.ones(len(flat))
    return sparse.csr_array((ones, flat, offsets), shape=(len(offsets) - 1, COLUMNS))


def by_word(
    values: npt.NDArray[np.float64], columns: npt.NDArray[np.int32], starts: npt.NDArray[np.int64]
) -> tuple[Matrix, Matrix]:
    """((b, COLUMNS) sums, presence) of a value for each word of b texts: those of a word that comes twice are added.

    columns: (m,) of all words, those of text i at starts[i]:starts[i + 1].
    """
    shape = (len(starts) - 1, COLUMNS)
    summed = sparse.csr_array((values, columns, starts), shape=shape)
    summed.sum_duplicates()
    return summed, sparse.csr_array((np.ones(len(summed.data)), summed.indices, summed.indptr), shape=shape)
