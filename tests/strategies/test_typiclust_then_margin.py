"""TypiClust in the first rounds, margin afterwards."""

import pytest

import xal
from tests.strategies.arrays import blobs


@pytest.mark.parametrize(("round", "part"), [(1, "typiclust"), (3, "typiclust"), (4, "margin")])
def test_the_round_decides(round: int, part: str) -> None:
    embeddings, probabilities = blobs()
    given = {"embeddings": embeddings, "probabilities": probabilities, "n": 5, "round": round, "n_rounds": 9}
    found = xal.query("typiclust_then_margin", **given)
    assert set(found.reasons) == {part}
    assert found.positions.tolist() == xal.query(part, **given).positions.tolist()
