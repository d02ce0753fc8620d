"""`xal.query`: arrays in, positions out."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse

import xal
from xal.errors import XalError

PROBABILITIES = np.random.default_rng(0).dirichlet(np.ones(4), 200)
EMBEDDINGS = np.random.default_rng(1).normal(size=(200, 6))


def test_margin_is_the_smallest_gap_of_the_two_likeliest_classes():
    top = np.sort(PROBABILITIES, axis=1)
    order = np.argsort(top[:, -1] - top[:, -2], kind="stable")
    found = xal.query("margin", probabilities=PROBABILITIES, n=20)
    assert found.positions.tolist() == order[:20].tolist()
    np.testing.assert_allclose(found.scores, (top[:, -2] - top[:, -1])[order[:20]])
    assert found.reasons == ("margin",) * 20 and found.ids is None and len(found) == 20


def test_labelled_positions_are_left_out_and_ids_come_back():
    first = xal.query("entropy", probabilities=PROBABILITIES, n=5).positions
    ids = [f"photo-{number}" for number in range(200)]
    found = xal.query("entropy", probabilities=PROBABILITIES, n=5, labelled=first, ids=ids)
    assert not set(found.positions) & set(first)
    assert found.ids == tuple(ids[position] for position in found.positions)
    mask = np.isin(np.arange(200), first)
    assert xal.query("entropy", probabilities=PROBABILITIES, n=5, labelled=mask).positions.tolist() == list(
        found.positions
    )


def test_wrappers_compose_with_any_strategy():
    plan = {
        "name": "fallback",
        "strategy": {"name": "threshold", "strategy": "margin", "above": -0.01},
        "fallback": "random",
    }
    found = xal.query(plan, probabilities=PROBABILITIES, n=30)
    above = sum(reason == "margin" for reason in found.reasons)
    top = np.sort(PROBABILITIES, axis=1)
    assert above == ((top[:, -1] - top[:, -2]) < 0.01).sum() < 30
    assert found.reasons[above:] == ("random",) * (30 - above) and len(set(found.positions.tolist())) == 30
    among = {"name": "candidates", "strategy": "margin", "n": 10, "candidates_from": "random"}
    drawn = xal.query(among, probabilities=PROBABILITIES, n=10).positions
    assert len(set(drawn)) == 10 and set(drawn) != set(xal.query("margin", probabilities=PROBABILITIES, n=10).positions)


def test_the_seed_decides_random_draws_and_nothing_else_does():
    one = xal.query("random", probabilities=PROBABILITIES, n=10, seed=1).positions.tolist()
    np.random.seed(0)  # noqa: NPY002
    assert one == xal.query("random", probabilities=PROBABILITIES, n=10, seed=1).positions.tolist()
    assert one != xal.query("random", probabilities=PROBABILITIES, n=10, seed=2).positions.tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probabilities": PROBABILITIES, "embeddings": EMBEDDINGS[:5]}, "probabilities: 200, embeddings: 5"),
        ({"probabilities": PROBABILITIES, "ids": ["a", "b"]}, "ids: 2"),
        ({"probabilities": np.where(PROBABILITIES > 0.9, np.nan, PROBABILITIES)}, "NaN or infinite"),
        ({"probabilities": 2 * PROBABILITIES}, "sum to 1; 200 do not, first row 0"),
        ({"probabilities": [[1.5, -0.5], [0.5, 0.5]], "n": 1}, "sum to 1; 1 do not, first row 0"),
        ({"probabilities": np.ones((200, 1))}, "a column for each class"),
        ({"probabilities": PROBABILITIES[0]}, "must have the shape"),
        ({"probabilities": [["a", "b"]]}, "must be numbers"),
        ({"probabilities": PROBABILITIES, "n": 201}, "requested 201 items, but 200 of 200 are unlabelled"),
        ({"probabilities": PROBABILITIES, "n": 0}, "requested 0 items"),
        ({"probabilities": PROBABILITIES, "labelled": range(195)}, "requested 10 items, but 5 of 200"),
        ({"probabilities": PROBABILITIES, "labelled": [200]}, "positions 0..199"),
        ({"probabilities": PROBABILITIES, "labelled": [1.7]}, "whole numbers"),
        ({"probabilities": PROBABILITIES, "interpretable_input": np.ones((3, 4))}, "has 3 rows for 200 items"),
        ({"probabilities": PROBABILITIES, "labelled": [3, 3]}, "names a position twice"),
        ({"probabilities": PROBABILITIES, "labelled": [1, 2], "labels": [0]}, "1 labels for 2 labelled positions"),
        ({"probabilities": PROBABILITIES, "labelled": [1, 2], "labels": [0, 4]}, "class indices 0..3"),
        ({"probabilities": PROBABILITIES, "ids": ["same"] * 200}, "ids must be distinct"),
        ({"embeddings": EMBEDDINGS}, "strategy 'margin' needs probabilities; pass probabilities="),
        ({}, "the number of items is not known"),
        ({"strategy": "margine", "probabilities": PROBABILITIES}, "did you mean 'margin'"),
    ],
)
def test_what_does_not_fit_is_a_clear_error(arguments, message):
    strategy = arguments.get("strategy", "margin")
    given = {"n": 10} | {name: value for name, value in arguments.items() if name != "strategy"}
    with pytest.raises(xal.XalError, match=message):
        xal.query(strategy, **given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"labelled": [0, 1], "labels": ["a", "b"]}, "labels are class indices"),
        ({"labelled": [0, 1], "labels": [0.5, 1.5]}, "labels are class indices"),
        ({"labelled": [0, 1, 0, 0, 0, 0]}, "for a mask, use booleans"),
        ({"embeddings": np.full((6, 2), 1e30)}, "numbers above 1e\\+15, whose distances cannot be computed"),
        ({"embeddings": sparse.csr_array(np.eye(6))}, "must be a dense array; call .toarray"),
        ({"sampled_probabilities": np.full((6, 4, 3), 1 / 3)}, "have 3 classes, probabilities 2"),
        ({"sampled_probabilities": np.full((6, 4), 0.5)}, "shape \\(items, draws, classes\\)"),
        ({"sampled_probabilities": np.full((6, 4, 2), 0.7)}, "sum to 1"),
        ({"contrastive": np.ones((5, 2))}, "one row an item is expected"),
    ],
)
def test_what_joint_strategies_are_given_is_checked(given: dict[str, Any], words: str) -> None:
    usual = {"probabilities": np.full((6, 2), 0.5), "embeddings": np.eye(6)}
    with pytest.raises(XalError, match=words):
        xal.query("max_herding", n=2, **usual | given)
