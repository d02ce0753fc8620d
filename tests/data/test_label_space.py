"""Labels to numbers and back."""

import numpy as np
import pytest

from xal.data.label_space import LabelSpace

SPACE = LabelSpace(("dog", "cat", "emu"))


def test_names_and_numbers_are_inverse() -> None:
    numbers = SPACE.encode(["emu", "dog", "emu"])
    assert numbers.dtype == np.int64 and numbers.tolist() == [2, 0, 2]
    assert [SPACE.decode(number) for number in numbers] == ["emu", "dog", "emu"]
    assert len(SPACE) == 3 and "cat" in SPACE and "cow" not in SPACE and None not in SPACE
    assert len(SPACE.encode([])) == 0


def test_what_is_no_class_is_found_and_the_nearest_named() -> None:
    assert SPACE.unknown(["cow", "cat", "ant", "cow"]) == ["ant", "cow"]
    assert SPACE.problem("cat") is None
    assert SPACE.problem("catt") == "'catt' is not a class; did you mean 'cat'?"
    with pytest.raises(KeyError):
        SPACE.encode(["cow"])


def test_guesses_are_the_two_likeliest_classes() -> None:
    assert SPACE.guesses(np.array([[0.25, 0.5, 0.25], [0.5, 0.5, 0.0]])) == [
        (("cat", 0.5), ("dog", 0.25)),
        (("dog", 0.5), ("cat", 0.5)),
    ]
