"""Texts cut into words, and what is left of them."""

import numpy as np

from xal.encoders import Texts


def test_what_is_left_of_a_text_is_as_written() -> None:
    texts = Texts(["Not bad, is it?", "Good!"])
    masks = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], bool)
    assert list(texts.left(np.array([0, 0, 1]), masks)) == ["Not bad, is it?", "Not bad", "Good!"]
    turkish = Texts(["İstanbul, at last"])  # its first letter is two in lower case, and the second no part of a word
    assert [len(each) for each in (turkish.tokens[0], turkish.written[0])] == [3, 3]


def test_words_of_all_texts_lie_one_after_another() -> None:
    texts = Texts(["Not bad", "", "one word more"])
    assert len(texts) == 3 and texts.flat == ["not", "bad", "one", "word", "more"]
    assert texts.starts.tolist() == [0, 2, 2, 5] and texts.columns.shape == (5,)
