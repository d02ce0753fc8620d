"""Anchors: a sub-pool around labelled items of the rarest classes."""

import numpy as np

import xal
from xal.strategies.anchor import Anchor
from xal.strategies.random import Random


def given() -> dict[str, np.ndarray]:
    """A common class of 380 items and a rare one of 20, far apart; one rare item is labelled."""
    generator = np.random.default_rng(0)
    embeddings = np.repeat(np.eye(2, 5), [380, 20], axis=0) + 0.05 * generator.normal(size=(400, 5))
    return {
        "embeddings": embeddings,
        "probabilities": np.full((400, 2), 0.5),
        "labelled": np.array([0, 1, 2, 3, 399]),
        "labels": np.array([0, 0, 0, 0, 1]),
    }


def test_half_of_the_sub_pool_is_near_the_rare_class() -> None:
    found = xal.query(Anchor(strategy=Random(), n=30), n=30, **given())
    assert (found.positions >= 380).sum() == 15
    plain = xal.query("random", n=30, **given())
    assert (plain.positions >= 380).sum() < 5


def test_only_the_rarest_classes() -> None:
    found = xal.query(Anchor(strategy=Random(), n=19, classes=1), n=19, **given())
    assert (found.positions >= 380).all()


def test_the_whole_pool_where_nothing_is_labelled_or_the_sub_pool_is_too_small() -> None:
    arrays = {name: part for name, part in given().items() if name in ("embeddings", "probabilities")}
    whole = xal.query("random", n=20, **arrays)
    assert xal.query(Anchor(strategy=Random()), n=20, **arrays).positions.tolist() == whole.positions.tolist()
    assert len(xal.query(Anchor(strategy=Random(), n=10), n=390, **given())) == 390
