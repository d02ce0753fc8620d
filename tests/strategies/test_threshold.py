"""Threshold: strictly above, and a limit and the budget bound the choice."""

from dataclasses import dataclass

import numpy as np
import pytest

from tests.strategies.fake_passes import FakePasses
from xal.core.rng import HashRng
from xal.strategies.strategy import Scores, Strategy
from xal.strategies.threshold import Threshold
from xal.types import Evidence

RNG = HashRng(0)


@dataclass(frozen=True, kw_only=True)
class Given(Strategy):
    """The item's own first probability as its score."""

    def score(self, evidence: Evidence, state: object, rng: HashRng) -> Scores:
        return np.asarray(evidence.probabilities)[:, 0].astype(np.float64)


def passes(*scores: float) -> FakePasses:
    n = len(scores)
    ids = np.array([f"item-{i}" for i in range(n)], object)
    pool = Evidence(ids=ids, rows=np.arange(n), probabilities=np.array(scores, np.float64)[:, None])
    return FakePasses(pool=pool, labels={})


def test_an_item_at_the_threshold_is_not_queried() -> None:
    found = passes(0.5, 0.75, np.nextafter(0.5, 1), -2, 0.25).query(Threshold(strategy=Given(), above=0.5), 5, RNG)
    assert found.items.ids.tolist() == ["item-1", "item-2"]


@pytest.mark.parametrize(("limit", "budget"), [(None, 3), (2, 3), (3, 2), (9, 3), (1, 1)])
def test_limit_and_budget_bound_the_choice(limit: int | None, budget: int) -> None:
    strategy = Threshold(strategy=Given(), above=-2, limit=limit)
    found = passes(0.1, 0.9, 0.3, 0.8, 0.2).query(strategy, budget, RNG)
    expected = budget if limit is None else min(limit, budget)
    assert found.items.ids.tolist() == ["item-1", "item-3", "item-2"][:expected]


def test_the_best_of_each_shard_are_enough() -> None:
    """Shards send only their best items: the choice must be that from all items."""
    scores = np.random.default_rng(6).uniform(-2, 2, 200)
    given = passes(*scores)
    strategy = Threshold(strategy=Given(), above=1.2, limit=30)
    found = FakePasses(pool=given.pool, labels={}, n_shards=9).query(strategy, 50, RNG)
    order = [i for i in np.argsort(-scores) if scores[i] > 1.2][:30]
    assert found.items.rows.tolist() == order and len(order) > 0


def test_nothing_above_is_no_query() -> None:
    found = passes(0.1, 0.2).query(Threshold(strategy=Given(), above=0.9), 2, RNG)
    assert len(found) == 0 and found.reasons == ()
