"""Words and their columns, against a plain loop."""

from zlib import crc32

import numpy as np
import pytest

from xal.core import hashed_words
from xal.types import dense

TEXTS = ["Good, GOOD plot!", "", "?!", "Ünïcode wörds_2"]


def test_columns_are_those_of_crc_32() -> None:
    """0xCBF43926 is the published check value of CRC-32, of "123456789"."""
    assert hashed_words.column("123456789") == 0xCBF43926 % 2**20
    assert hashed_words.columns(["good", "plot"]).tolist() == [crc32(b"good") % 2**20, crc32(b"plot") % 2**20]


def test_a_word_is_a_run_of_letters_in_lower_case() -> None:
    assert [hashed_words.tokens(text) for text in TEXTS] == [["good", "good", "plot"], [], [], ["ünïcode", "wörds_2"]]
    for text in [*TEXTS, "İstanbul'da"]:  # whose lower case has a mark more
        assert [text[a:b].lower() for a, b in hashed_words.spans(text)] == hashed_words.tokens(text)


def test_presence_says_which_words_are_there() -> None:
    found = hashed_words.presence(TEXTS)
    assert found.shape == (4, hashed_words.COLUMNS)
    for row, text in enumerate(TEXTS):
        expected = sorted({hashed_words.column(word) for word in hashed_words.tokens(text)})
        assert found[[row]].indices.tolist() == expected and (found[[row]].data == 1).all()


def test_values_of_a_word_that_comes_twice_are_added() -> None:
    columns = np.array([7, 3, 7, 5], np.int32)
    summed, present = hashed_words.by_word(np.array([0.5, 2.0, 0.25, -1.0]), columns, np.array([0, 3, 3, 4]))
    expected = np.zeros((3, 8))
    expected[0, [3, 7]], expected[2, 5] = (2.0, 0.75), -1.0
    np.testing.assert_array_equal(dense(summed[:, :8]), expected)
    np.testing.assert_array_equal(dense(present[:, :8]), expected != 0)


@pytest.mark.parametrize("words", [[], ["a"]])
def test_few_words(words: list[str]) -> None:
    assert hashed_words.columns(words).dtype == np.int32 and len(hashed_words.columns(words)) == len(words)


def test_presence_has_a_column_a_word() -> None:
    found = dense(hashed_words.presence(["a film a film", "film", ""]))
    assert found.sum(axis=1).tolist() == [2, 1, 0] and found[0, hashed_words.column("film")] == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("यह फिल्म बहुत अच्छी है", ["यह", "फिल्म", "बहुत", "अच्छी", "है"]),
        ("e\u0301te\u0301", ["été"]),
        ("这部电影 great", ["这", "部", "电", "影", "great"]),
        ("映画はラーメン", ["映", "画", "は", "ラ", "ー", "メ", "ン"]),
        ("ดีมาก", ["ดี", "ม", "า", "ก"]),
        ("İstanbul", ["i̇stanbul"]),
        ("Don't_x 7", ["don", "t_x", "7"]),
    ],
)
def test_words_of_many_languages(text: str, expected: list[str]) -> None:
    assert hashed_words.tokens(text) == expected
    assert len(hashed_words.spans(text)) == len(expected)
