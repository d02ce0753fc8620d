"""What components answer is checked where it comes in, and the message names the component."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from xal.core.answers import check_answers, check_chosen, check_explanations, check_numbers, check_probabilities
from xal.errors import NumericalError, XalError
from xal.types import Correction, Explanations

IDS = ["a", "b", "c"]


def explanations(**changed: Any) -> Explanations:
    fields: dict[str, Any] = {
        "feature_kind": "columns",
        "attributions": np.ones((3, 4)),
        "interpretable_input": np.ones((3, 4)),
        "explained_class": np.array([0, 1, 1]),
        "probability": np.full(3, 0.5),
    }
    return Explanations(**fields | changed)


def test_right_answers_pass() -> None:
    check_numbers("strategy 'mine'", "scores", np.zeros(3), (3,), "one an item", IDS)
    check_numbers("encoder Mine", "vectors", sparse.csr_array(np.eye(3)), (3, None), "a row an item", IDS)
    check_probabilities("model 'mine'", np.full((3, 2), 0.5), 2, IDS)
    check_explanations("explainer 'mine'", explanations(), 2, IDS)
    check_explanations("explainer 'mine'", explanations(per_item=True, attributions=np.full((3, 4), np.nan)), 2, IDS)
    check_chosen("strategy 'mine'", IDS, 3, {"d"})
    check_answers("annotator 'mine'", "labels", {"a": "cat"}, IDS, str)


@pytest.mark.parametrize(
    ("values", "shape", "error", "message"),
    [
        (np.zeros(2), (3,), XalError, r"gave scores of shape \(2,\); expected \(3\): one an item"),
        (np.zeros((3, 1)), (3,), XalError, r"shape \(3, 1\)"),
        (0.5, (3,), XalError, r"shape \(\)"),
        (np.array(["x", "y", "z"]), (3,), XalError, "expected numbers"),
        (np.array([0, np.nan, 1]), (3,), NumericalError, "not finite for 1 of 3 items, first for id 'b'"),
        (sparse.csr_array(np.diag([1, 1, np.inf])), (3, None), NumericalError, "first for id 'c'"),
    ],
)
def test_numbers(values: Any, shape: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_numbers("strategy 'mine'", "scores", values, shape, "one an item", IDS)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((3, 3), 1 / 3), r"shape \(3, 3\); expected \(3, 2\)"),
        (np.array([[0.5, 0.5], [2.0, -1.0], [0.5, 0.5]]), "no probabilities, first for id 'b'"),
        (np.array([[0.5, 0.5], [0.5, 0.5], [0.2, 0.2]]), "first for id 'c'"),
        (np.array([[0.5, 0.5], [np.nan, 0.5], [0.5, 0.5]]), "not finite for 1 of 3 items, first for id 'b'"),
    ],
)
def test_probabilities(values: Any, message: str) -> None:
    with pytest.raises(XalError, match=message):
        check_probabilities("model 'mine'", values, 2, IDS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.ones((3, 4)), "ndarray; expected xal.Explanations"),
        (explanations(attributions=np.ones((2, 4))), r"attributions of shape \(2, 4\)"),
        (explanations(attributions=np.full((3, 4), np.nan)), "attributions that are not finite for 3 of 3"),
        (explanations(probability=np.ones(2)), r"'probability' of shape \(2,\)"),
        (explanations(interpretable_input=np.ones((5, 4))), "'interpretable_input' of 5 items; expected 3"),
        (explanations(explained_class=np.array([0, 1, 2])), "explained class 2; there are 2"),
    ],
)
def test_explanations(given: Any, message: str) -> None:
    with pytest.raises(XalError, match=f"explainer 'mine' (gave )?{message}"):
        check_explanations("explainer 'mine'", given, 2, IDS)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (["a", "b", "c"], "chose 3 items; expected at most 2"),
        (["a", "a"], "chose 'a' more than once"),
        (["a", "d"], "chose 'd', queried in an earlier round"),
    ],
)
def test_chosen(chosen: list[str], message: str) -> None:
    with pytest.raises(XalError, match=message):
        check_chosen("strategy 'mine'", chosen, 2, {"d"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([("a", "cat")], "labels as list; expected a mapping"),
        ({"z": "cat"}, "labels for 'z', which it was not asked for"),
        ({"a": 3}, "labels that are not str, first for id 'a': 3"),
    ],
)
def test_answers(given: Any, message: str) -> None:
    with pytest.raises(XalError, match=message):
        check_answers("annotator 'mine'", "labels", given, IDS, str)
    check_answers("annotator 'mine'", "corrections", {"a": Correction()}, IDS, Correction)
