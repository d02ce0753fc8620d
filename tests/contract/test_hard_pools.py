"""Every strategy on pools that leave little to choose by: equal items, zeros, equal predictions, one class, few."""

from typing import Any

import numpy as np
import pytest

import xal
from tests.contract.test_strategies import ALL, LEAVES_SOME, space_of
from tests.strategies.fake_passes import PARTS, evidence
from xal.errors import XalError
from xal.strategies import Strategy

SPREADING = (
    "auto",
    "badge",
    "bait",
    "diverse_mini_batch",
    "dropquery",
    "explanation_herding",
    "k_center",
    "max_herding",
    "ranked_batch",
    "typiclust",
    "uncertainty_herding",
)
"""Strategies whose batch shall be diverse."""


def arrays(strategy: Strategy, n: int, **changed: Any) -> dict[str, Any]:
    """All that a strategy may ask for on n items."""
    given = evidence(n, space=space_of(strategy))
    return {name: getattr(given, name) for name in PARTS} | changed


def chosen(strategy: Strategy, n: int, asked: int, labelled: int = 6, **changed: Any) -> list[int]:
    """Positions; skips strategies that need explanations of labels, which `xal.query` does not take."""
    if any("label_explanations" in part.all_needs for part in strategy.parts()):
        pytest.skip("needs explanations of labels")
    labels = changed.pop("labels", np.arange(labelled) % 5)
    given = arrays(strategy, n, **changed)
    found = xal.query(strategy, n=asked, labelled=list(range(labelled)), labels=labels, **given)
    positions: list[int] = found.positions.tolist()
    assert len(set(positions)) == len(positions) and not set(positions) & set(range(labelled))
    if strategy.name not in LEAVES_SOME:
        assert len(positions) == asked
    return positions


@pytest.mark.parametrize("strategy", ALL)
class TestHardPools:
    def test_vectors_of_zeros(self, strategy: Strategy) -> None:
        zeros = np.zeros((40, 8))
        chosen(strategy, 40, 20, embeddings=zeros, contrastive=zeros)

    def test_all_probabilities_are_equal(self, strategy: Strategy) -> None:
        even = np.full((40, 5), 0.2)
        chosen(strategy, 40, 20, probabilities=even, sampled_probabilities=np.full((40, 10, 5), 0.2))

    def test_all_are_certain(self, strategy: Strategy) -> None:
        certain = np.tile([1.0, 0, 0, 0, 0], (40, 1))
        chosen(strategy, 40, 20, probabilities=certain, sampled_probabilities=np.repeat(certain[:, None], 10, axis=1))

    def test_one_class_is_labelled_so_far(self, strategy: Strategy) -> None:
        chosen(strategy, 40, 20, labels=np.zeros(6, np.int64))

    def test_all_that_is_left(self, strategy: Strategy) -> None:
        chosen(strategy, 16, 10)

    def test_equal_items_by_the_hundred(self, strategy: Strategy) -> None:
        """Of 400 items, 396 are one and the same, and the model is unsure about it; seven others are new."""
        kinds = np.random.default_rng(0).normal(size=(8, 8))
        which = np.zeros(400, np.int64)
        which[[50, 51, 120, 200, 201, 300, 399]] = np.arange(1, 8)
        p = np.where(which[:, None] == 0, [0.3, 0.25, 0.2, 0.15, 0.1], [0.6, 0.2, 0.1, 0.05, 0.05])
        found = chosen(
            strategy, 400, 8, embeddings=kinds[which], contrastive=kinds[which], probabilities=p,
            sampled_probabilities=np.repeat(p[:, None], 10, axis=1),
        )  # fmt: skip
        if strategy.name in SPREADING and strategy.name not in ("diverse_mini_batch", "dropquery"):
            assert set(which[found].tolist()) == set(range(8))


@pytest.mark.parametrize("strategy", ["diverse_mini_batch", "dropquery"])
def test_equal_items_among_the_candidates(strategy: str) -> None:
    kinds = np.random.default_rng(0).normal(size=(5, 8))
    which = np.repeat(np.arange(5), [36, 1, 1, 1, 1])
    even = np.full((40, 2), 0.5)
    found = xal.query(
        strategy, n=5, embeddings=kinds[which], probabilities=even, sampled_probabilities=np.full((40, 10, 2), 0.5)
    )
    assert set(which[found.positions].tolist()) == set(range(5))


@pytest.mark.parametrize("strategy", [each for each in ALL if each.values[0].name in SPREADING])
def test_without_embeddings_the_message_names_them(strategy: Strategy) -> None:
    needs = frozenset[str]().union(*(part.all_needs for part in strategy.parts()))
    given = arrays(strategy, 20)
    missing = "contrastive" if "contrastive" in needs else "embeddings"
    given[missing] = None
    with pytest.raises(XalError, match=f"needs .*{missing}.*pass .*{missing}=..."):
        xal.query(strategy, n=3, **given)
