"""Bags against scikit-learn, and of texts of which words are left out against the same texts written anew."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from xal.encoders import Encoder, Texts
from xal.encoders.bag_of_words import Tfidf
from xal.errors import DataError
from xal.types import dense

TRAIN = ["A good film, a very good one.", "bad plot", "the plot of a film", "Ünïcode wörds too"]
NEW = ["good good plot unknown", "", "?!", "wörds of a FILM"]
BAGS = [Encoder.named(name)() for name in ("tfidf", "hashing", "presence")] + [Tfidf(sublinear=True)]


@pytest.mark.parametrize("sublinear", [False, True])
def test_tfidf_is_scikit_learns(sublinear: bool) -> None:
    encoder = Tfidf(sublinear=sublinear)
    theirs = TfidfVectorizer(token_pattern=r"\w+", sublinear_tf=sublinear).fit(TRAIN)
    encoding = encoder.load(encoder.fit(TRAIN))
    np.testing.assert_allclose(dense(encoding.encode(NEW)), theirs.transform(NEW).toarray(), atol=1e-12)


@pytest.mark.parametrize("encoder", BAGS, ids=lambda each: each.name)
def test_masked_texts_are_encoded_as_what_is_left_of_them(encoder: Encoder) -> None:
    encoding = encoder.load(encoder.fit(TRAIN))
    texts = Texts(TRAIN)
    items = np.random.default_rng(0).integers(0, 4, 50)
    masks = np.random.default_rng(1).random((50, 7)) < 0.6
    masks &= np.arange(7) < np.diff(texts.starts)[items][:, None]
    found = encoding.coalitions(texts)(items, masks)
    np.testing.assert_allclose(dense(found), dense(encoding.encode(list(texts.left(items, masks)))), atol=1e-12)


def test_no_word_is_left() -> None:
    with pytest.raises(DataError, match="lower min_texts"):
        Tfidf(min_texts=3).fit(["one two", "three"])
