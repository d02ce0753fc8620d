"""The base's plan: what it asks of the engine and in which order, and strategies that use all of it."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.strategies.fake_passes import FakePasses, evidence
from xal.core.rng import HashRng
from xal.strategies.candidates import Candidates
from xal.strategies.entropy import Entropy
from xal.strategies.fallback import Fallback
from xal.strategies.margin import Margin
from xal.strategies.random import Random
from xal.strategies.schedule import Schedule
from xal.strategies.strategy import Scores, Strategy, Summary, embeddings_of, probabilities_of
from xal.strategies.threshold import Threshold
from xal.types import Evidence, Labelled, Scored

RNG = HashRng(2)
POOL = evidence(70)
LABELS = {item: number % 3 for number, item in enumerate(POOL.ids[:10].tolist())}


@dataclass(frozen=True, kw_only=True)
class FarFromTheMean(Strategy):
    """Uses every step: two summaries (mean, then spread about it), a shortlist, and a choice by embeddings."""

    needs: ClassVar[frozenset[str]] = frozenset({"probabilities"})
    prepare_needs: ClassVar[frozenset[str]] = frozenset({"embeddings"})
    summary_needs: ClassVar[frozenset[str] | None] = frozenset({"embeddings"})
    select_needs: ClassVar[frozenset[str]] = frozenset({"embeddings"})
    n_summaries: ClassVar[int] = 2
    learns_from_labelled: ClassVar[bool] = True

    def n_sample(self, budget: int) -> int:
        return 2 * budget

    def n_shortlist(self, budget: int) -> int:
        return 3 * budget

    def summarize(self, evidence: Evidence, last: Summary | None) -> Summary:
        e = embeddings_of(evidence)
        if last is None:
            return {"n": np.array(len(e)), "sum": e.sum(axis=0)}
        return {"squares": ((e - last["sum"] / last["n"]) ** 2).sum(axis=0)}

    def prepare(self, labelled: Labelled | None, sample: Evidence | None, summary: Summary | None) -> Any:
        assert labelled is not None and sample is not None and summary is not None
        return labelled, sample, summary

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        return np.asarray(probabilities_of(evidence)[:, 0], np.float64)

    def select(self, shortlist: Scored, state: Any, budget: int) -> Scored:
        assert shortlist.evidence is not None
        far = np.linalg.norm(embeddings_of(shortlist.evidence), axis=1)
        return shortlist.take(np.argsort(-far, kind="stable")[:budget])


def passes(**options: Any) -> FakePasses:
    return FakePasses(pool=POOL, labels=LABELS, **options)


def test_prepare_sees_the_labelled_a_sample_and_the_last_summary() -> None:
    labelled, sample, summary = passes(taken=tuple(LABELS)).prepare(FarFromTheMean(), 4, RNG)
    assert set(labelled.evidence.ids) == set(LABELS)
    assert [LABELS[item] for item in labelled.evidence.ids] == labelled.labels.tolist()
    assert len(sample) == 8 and not set(sample.ids) & set(LABELS) and sample.probabilities is None
    free = POOL.embeddings[10:]
    np.testing.assert_allclose(summary["squares"], ((free - free.mean(axis=0)) ** 2).sum(axis=0), rtol=1e-12)


def test_select_chooses_jointly_from_a_shortlist_with_its_evidence() -> None:
    query = passes(n_shards=3).query(FarFromTheMean(), 4, RNG)
    free = POOL.take(slice(10, None))
    shortlist = sorted(range(60), key=lambda i: (-free.probabilities[i, 0], free.ids[i]))[:12]
    chosen = sorted(shortlist, key=lambda i: -np.linalg.norm(free.embeddings[i]))[:4]
    assert query.items.ids.tolist() == free.ids[chosen].tolist()
    assert query.items.scores.tolist() == free.probabilities[chosen, 0].tolist()
    assert query.reasons == (FarFromTheMean.name,) * 4
    (seen,) = query.evidence
    np.testing.assert_array_equal(seen.embeddings, free.embeddings[chosen])


@pytest.mark.parametrize(
    "wrapper",
    [
        lambda inner: Candidates(strategy=inner, n=20, candidates_from=Entropy()),
        lambda inner: Threshold(strategy=inner, above=0.0),
        lambda inner: Fallback(strategy=Threshold(strategy=Entropy(), above=100.0), fallback=inner),
        lambda inner: Schedule(strategies=(inner, Random())),
    ],
    ids=["candidates", "threshold", "fallback", "schedule"],
)
@pytest.mark.parametrize(
    "inner", [FarFromTheMean(), Candidates(strategy=FarFromTheMean(), n=30)], ids=["leaf", "nested"]
)
def test_wrappers_compose_any_strategy(wrapper: Any, inner: Strategy) -> None:
    """Also one that prepares, sums up and selects: its query is its own among what the wrapper leaves it."""
    strategy = wrapper(inner)
    query = passes().query(strategy, 5, RNG)
    assert len(query) == 5 and query.reasons == (FarFromTheMean.name,) * 5
    assert FarFromTheMean() in strategy.parts() and strategy.parts()[0] is strategy
    sharded = passes(n_shards=6).query(strategy, 5, RNG)
    assert sharded.items.ids.tolist() == query.items.ids.tolist()
    if isinstance(strategy, Candidates):
        allowed = passes().query(Entropy(), 20, RNG).items.ids
        assert set(query.items.ids) <= set(allowed)
    elif inner == FarFromTheMean():
        assert query.items.ids.tolist() == passes().query(inner, 5, RNG).items.ids.tolist()


def test_a_strategy_that_scores_alone_asks_for_one_pass() -> None:
    given = passes()
    given.query(Margin(), 5, RNG)
    assert given.asked == [("score", "margin", 60)]
