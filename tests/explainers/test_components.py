"""What corrections speak of: shown components, their names, and the part of an item that they are."""

import dataclasses

import numpy as np
import pytest
from scipy import sparse

from xal.core import hashed_words
from xal.errors import XalError
from xal.explainers.components import Naming, are_relevant, mask_of, shown_components, without
from xal.types import Explanations


def explained(attributions: object, segments: object = None) -> Explanations:
    kind = "words" if sparse.issparse(attributions) else "columns" if segments is None else "segments"
    return Explanations(
        feature_kind=kind,  # type: ignore[arg-type]
        attributions=attributions,
        interpretable_input=attributions,
        explained_class=np.array([1]),
        probability=np.array([0.9]),
        segments=segments,
    )


def test_shown_are_the_largest_that_are_not_0() -> None:
    found = explained(np.array([[0.1, -0.5, 0.0, 0.3, np.nan]]))
    assert shown_components(found, 2) == (1, 3) and shown_components(found, None) == (1, 3, 0)
    row = sparse.csr_array((np.array([0.2, -0.7, 0.0]), (np.zeros(3, int), np.array([5, 9, 11]))), shape=(1, 20))
    assert shown_components(explained(row), None) == (9, 5)
    tied = explained(np.array([[0.5, -0.5, 0.5]]))
    assert shown_components(tied, 2) == (0, 1)


def test_names_go_both_ways() -> None:
    text = Naming("Good, GOOD plot", None, ())
    assert text.number("good") == text.number("Good") == hashed_words.column("good") and text.number("bad") is None
    assert text.name(hashed_words.column("plot")) == "plot"
    table = Naming((3,), None, ("height", "width", "age"))
    assert table.number("width") == 1 and table.name(2) == "age" and table.number("height ") is None
    assert Naming((2,), None, ()).number("column 1") == 1
    image = (1, 2, 3)
    assert Naming(image, None, ()).number("1,2") == 5
    patches = explained(np.zeros((1, 2)), np.array([[[0, 0, 1], [0, 0, 1]]]))
    assert Naming(image, patches, ()).number("1") == 1 and Naming(image, patches, ()).number("2") is None
    pixels = explained(np.zeros((1, 6)), np.arange(6).reshape(1, 2, 3))
    assert Naming(image, pixels, ()).name(4) == "1,1"


def test_columns_are_named_so_that_a_list_says_which() -> None:
    for names in (("a", "a ", "b"), ("a", "b;c", "d"), ("A", "a", "b")):
        assert Naming((3,), None, names).name(1) == "column 1"


def test_concepts_are_no_part_of_an_item() -> None:
    found = dataclasses.replace(explained(np.array([[0.5, -0.2]])), feature_kind="concepts")
    assert Naming((1, 2, 3), found, ()).name(1) == "concept 1" and 2 not in Naming((3,), found, ())
    assert not mask_of((0, 1), (1, 2, 3), found).any() and mask_of((0, 1), (3,), found).shape == (3,)


def test_masks_are_the_features_pixels() -> None:
    patches = explained(np.zeros((1, 2)), np.array([[[0, 0, 1], [0, 0, 1]]]))
    np.testing.assert_array_equal(mask_of((1,), (3, 2, 3), patches), [[False, False, True]] * 2)
    np.testing.assert_array_equal(mask_of((0, 5), (3, 2, 3), None), [[True, False, False], [False, False, True]])
    np.testing.assert_array_equal(mask_of((2,), (4,), None), [False, False, True, False])
    with pytest.raises(XalError, match="no mask"):
        mask_of((2,), (), None)
    relevant = np.array([[True, True, False], [True, False, False]])
    assert are_relevant((0, 1), relevant, patches) == [True, False]
    assert are_relevant((0, 4), relevant, None) == [True, False]


def test_a_text_without_words() -> None:
    assert without("Good, plot; good end.", (hashed_words.column("good"),)) == ", plot; end."
    assert without("all", (hashed_words.column("all"),)) == ""


def test_all_names_of_an_item() -> None:
    assert Naming("a b a", None, ()).names == ("a", "b") and Naming("", None, ()).names == ()
    assert Naming((2,), None, ("x", "y")).names == ("x", "y")
    assert Naming((1, 1, 2), None, ()).names == ("0,0", "0,1")
    text = Naming("good plot", None, ())
    assert hashed_words.column("good") in text and hashed_words.column("bad") not in text
