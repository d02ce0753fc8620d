"""A text encoder: hashed character n-grams, which tolerate spelling mistakes.

In a recipe:   model: {name: logistic_regression, encoder: {name: "char_ngrams:CharNgrams", longest: 4}}
From Python:   xal.Learner(texts, model={"name": "logistic_regression", "encoder": CharNgrams()})
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer

import xal
from xal.encoders.encoder import Encoding, State


@dataclass(frozen=True, kw_only=True)
class CharNgrams(xal.Encoder):
    """Counts of hashed character n-grams, rows of length 1."""

    shortest: int = 2
    longest: int = 3
    """n, from `shortest` to `longest` characters."""
    bits: int = 14
    """2^bits columns."""

    def load(self, state: State) -> Encoding:
        """`state` is what `fit` returned; nothing, since hashing learns nothing."""
        return _Hashed(self)


class _Hashed(Encoding):
    def __init__(self, encoder: CharNgrams) -> None:
        span = (encoder.shortest, encoder.longest)
        self._vectorizer = HashingVectorizer(n_features=2**encoder.bits, analyzer="char_wb", ngram_range=span)

    def encode(self, texts: Sequence[str]) -> Any:
        """(b, 2^bits) sparse."""
        return sparse.csr_array(self._vectorizer.transform(texts))
