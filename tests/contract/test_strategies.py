"""Every registered strategy through the invariants that engines rely on."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.strategies.fake_passes import CLASSES, FakePasses, evidence, labelled, needed
from xal.core.rng import HashRng
from xal.strategies import Strategy, Wrapper
from xal.strategies.in_memory import InMemoryPasses
from xal.strategies.margin import Margin
from xal.strategies.random import Random
from xal.types import Evidence, Scored

N, ROUNDS = 61, 4
RNG = HashRng(7).child("round", 1)
REQUIRED: dict[str, Any] = {"strategy": Margin(), "strategies": (Margin(), Random()), "above": -0.25}
"""Settings that have no default."""
LEAVES_SOME = {"candidates": {"n": 30}, "threshold": {}}
"""Strategies that may leave some of the budget unspent."""


def build(name: str) -> Strategy:
    kind = Strategy.named(name)
    required = [
        each.name
        for each in dataclasses.fields(kind)
        if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
    ]
    built: Strategy = kind(**{each: REQUIRED[each] for each in required} | LEAVES_SOME.get(name, {}))
    return built


REGISTERED = {name: build(name) for name in Strategy.registry}
SCORING = {part.name: part for each in REGISTERED.values() for part in each.parts() if not isinstance(part, Wrapper)}
ALL = [pytest.param(strategy, id=name) for name, strategy in REGISTERED.items()]
STRATEGIES = [pytest.param(strategy, id=name) for name, strategy in SCORING.items()]


def space_of(strategy: Strategy) -> str:
    """A space of explanations that all parts of the strategy can read."""
    explained = [part for part in strategy.parts() if part.all_needs & {"explanations", "label_explanations"}]
    return "shared" if all("shared" in part.spaces for part in explained) else "ebano"


def pool_of(strategy: Strategy, n: int = N) -> Evidence:
    return evidence(n, space=space_of(strategy))


def passes_over(strategy: Strategy, **options: Any) -> FakePasses:
    pool = pool_of(strategy)
    labels = {item: number % CLASSES for number, item in enumerate(pool.ids[::7].tolist())}
    return FakePasses(pool=pool, labels=labels, **options)


def state_of(strategy: Strategy) -> Any:
    return passes_over(strategy).prepare(strategy, 10, RNG)


def frozen(given: Any) -> Any:
    """The same; writing to any array of it raises."""
    for value in vars(given).values():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
        elif dataclasses.is_dataclass(value):
            frozen(value)
    return given


def test_the_family_is_not_empty() -> None:
    assert {"random", "entropy", "margin", "least_confidence", "npir_gap"} <= set(SCORING)
    assert {"ebano_uncertainty", "candidates", "threshold", "fallback", "schedule"} <= set(REGISTERED)


@pytest.mark.parametrize("strategy", STRATEGIES)
class TestScores:
    def test_one_finite_float64_an_item(self, strategy: Strategy) -> None:
        scores = strategy.score(needed(pool_of(strategy), strategy.needs), state_of(strategy), RNG)
        assert scores.shape == (N,) and scores.dtype == np.float64
        assert np.isfinite(scores).all()

    def test_of_one_item(self, strategy: Strategy) -> None:
        given = needed(pool_of(strategy, 2).take(slice(0, 1)), strategy.needs)
        assert strategy.score(given, state_of(strategy), RNG).shape == (1,)

    def test_deterministic(self, strategy: Strategy) -> None:
        given = needed(pool_of(strategy), strategy.needs)
        first = strategy.score(given, state_of(strategy), RNG)
        np.random.seed(1)  # noqa: NPY002 - a strategy must not look at the global generator
        np.testing.assert_array_equal(strategy.score(given, state_of(strategy), RNG), first)

    @pytest.mark.parametrize("size", [1, 7, 60])
    def test_the_same_however_the_batch_is_split(self, strategy: Strategy, size: int) -> None:
        given, state = needed(pool_of(strategy), strategy.needs), state_of(strategy)
        parts = [strategy.score(given.take(slice(i, i + size)), state, RNG) for i in range(0, N, size)]
        np.testing.assert_array_equal(np.concatenate(parts), strategy.score(given, state, RNG))

    def test_follow_the_items_when_they_are_permuted(self, strategy: Strategy) -> None:
        order = np.random.default_rng(3).permutation(N)
        given, state = needed(pool_of(strategy), strategy.needs), state_of(strategy)
        expected = strategy.score(given, state, RNG)[order]
        np.testing.assert_array_equal(strategy.score(given.take(order), state, RNG), expected)

    def test_do_not_depend_on_the_row_in_the_pool(self, strategy: Strategy) -> None:
        given, state = needed(pool_of(strategy), strategy.needs), state_of(strategy)
        moved = dataclasses.replace(given, rows=given.rows[::-1] + 1000)
        np.testing.assert_array_equal(strategy.score(moved, state, RNG), strategy.score(given, state, RNG))

    def test_inputs_are_not_written_to(self, strategy: Strategy) -> None:
        strategy.score(frozen(needed(pool_of(strategy), strategy.needs)), state_of(strategy), RNG)


@pytest.mark.parametrize("strategy", STRATEGIES)
class TestPrepare:
    def test_inputs_are_not_written_to(self, strategy: Strategy) -> None:
        passes = passes_over(strategy)
        known = labelled(passes.pool, passes.labels, strategy.prepare_needs)
        frozen(known), frozen(known.evidence)
        sample = frozen(needed(pool_of(strategy), strategy.prepare_needs))
        if strategy.prepare_needs:
            strategy.prepare(known, sample, passes.summary(strategy))

    def test_summaries_add_up(self, strategy: Strategy) -> None:
        if strategy.summary_needs is None:
            with pytest.raises(NotImplementedError, match=f"{strategy.name} does not implement summarize"):
                strategy.summarize(pool_of(strategy), None)
            return
        given, last = needed(pool_of(strategy), strategy.summary_needs), None
        for _ in range(strategy.n_summaries):
            whole = strategy.summarize(frozen(given), last)
            parts = [strategy.summarize(given.take(part), last) for part in np.array_split(np.arange(N), 4)]
            for name, values in whole.items():
                np.testing.assert_allclose(sum(part[name] for part in parts), values, rtol=1e-6, atol=1e-9)
            last = whole


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("budget", [1, 10, N, N + 5])
class TestSelect:
    def shortlist(self, strategy: Strategy, budget: int) -> tuple[Scored, Any]:
        state, given = state_of(strategy), pool_of(strategy)
        scores = strategy.score(needed(given, strategy.needs), state, RNG)
        seen = needed(given, strategy.select_needs) if strategy.select_needs else None
        scored = Scored(ids=given.ids, rows=given.rows, scores=scores, evidence=seen)
        return scored.top(strategy.n_shortlist(budget)), state

    def test_unique_items_of_the_shortlist_that_spend_the_budget(self, strategy: Strategy, budget: int) -> None:
        offered, state = self.shortlist(strategy, budget)
        chosen = strategy.select(offered, state, budget)
        row_of = dict(zip(offered.ids, offered.rows, strict=True))
        assert len(chosen) == min(budget, N)
        assert len(set(chosen.ids)) == len(chosen)
        assert [row_of[item] for item in chosen.ids] == chosen.rows.tolist()
        assert np.isfinite(chosen.scores).all()

    def test_independent_of_the_order_given(self, strategy: Strategy, budget: int) -> None:
        offered, state = self.shortlist(strategy, budget)
        shuffled = offered.take(np.random.default_rng(4).permutation(len(offered)))
        chosen = strategy.select(offered, state, budget).ids.tolist()
        assert strategy.select(shuffled, state, budget).ids.tolist() == chosen

    def test_inputs_are_not_written_to(self, strategy: Strategy, budget: int) -> None:
        offered, state = self.shortlist(strategy, budget)
        strategy.select(frozen(offered), state, budget)

    def test_nothing_offered_nothing_chosen(self, strategy: Strategy, budget: int) -> None:
        _, state = self.shortlist(strategy, budget)
        assert len(strategy.select(Scored.empty(), state, budget)) == 0


@pytest.mark.parametrize("strategy", ALL)
class TestQuery:
    @pytest.mark.parametrize("budget", [1, 10, N, N + 5])
    @pytest.mark.parametrize("round", [1, ROUNDS])
    def test_unlabelled_unique_and_within_the_budget(self, strategy: Strategy, budget: int, round: int) -> None:
        passes = passes_over(strategy, round=round, n_rounds=ROUNDS)
        query = passes.query(strategy, budget, RNG)
        items = query.items
        unlabelled = N - len(passes.labels)
        assert len(items) <= min(budget, unlabelled)
        if strategy.name not in LEAVES_SOME:
            assert len(items) == min(budget, unlabelled)
        assert len(items) > 0 and len(set(items.ids)) == len(items) and not set(items.ids) & set(passes.labels)
        assert passes.pool.ids[items.rows].tolist() == items.ids.tolist()
        assert items.scores.dtype == np.float64 and np.isfinite(items.scores).all()

    def test_each_item_has_its_reason_and_its_evidence(self, strategy: Strategy) -> None:
        query = passes_over(strategy).query(strategy, 10, RNG)
        parts = {part.name: part for part in strategy.parts()}
        assert len(query.reasons) == len(query) and set(query.reasons) <= set(parts)
        looked_at = {name: part.needs for name, part in parts.items()}
        looked_at |= {name: parts["npir_gap"].needs for name in parts if name in ("ebano_uncertainty", "ebano_augment")}
        seen = {item for piece in query.evidence for item in piece.ids}
        explained = {item for piece in query.evidence if piece.explanations is not None for item in piece.ids}
        for item, reason in zip(query.items.ids, query.reasons, strict=True):
            assert item in seen or not looked_at[reason]
            assert item in explained or "explanations" not in looked_at[reason]
        assert query.items.evidence is None

    def test_deterministic(self, strategy: Strategy) -> None:
        first = passes_over(strategy).query(strategy, 10, RNG)
        np.random.seed(1)  # noqa: NPY002
        again = passes_over(strategy).query(strategy, 10, RNG)
        assert again.items.ids.tolist() == first.items.ids.tolist() and again.reasons == first.reasons
        np.testing.assert_array_equal(again.items.scores, first.items.scores)

    @pytest.mark.parametrize("n_shards", [2, 5, N])
    def test_the_same_for_any_number_of_shards(self, strategy: Strategy, n_shards: int) -> None:
        whole = passes_over(strategy).query(strategy, 10, RNG)
        query = passes_over(strategy, n_shards=n_shards).query(strategy, 10, RNG)
        assert query.items.ids.tolist() == whole.items.ids.tolist() and query.reasons == whole.reasons
        np.testing.assert_array_equal(query.items.scores, whole.items.scores)

    def test_what_is_taken_is_not_asked_for_again(self, strategy: Strategy) -> None:
        passes = passes_over(strategy)
        first = passes.query(strategy, 10, RNG).items.ids.tolist()
        assert not set(first) & set(passes.without(first).query(strategy, 10, RNG).items.ids)

    def test_the_same_of_arrays_in_memory(self, strategy: Strategy) -> None:
        """`InMemoryPasses`, which `xal.query` asks with."""
        fake = passes_over(strategy)
        known = np.flatnonzero([item in fake.labels for item in fake.pool.ids])
        needs = frozenset({"explanations", "label_explanations"})
        in_memory = InMemoryPasses(
            evidence=fake.pool,
            labelled=known,
            labels=np.array([fake.labels[item] for item in fake.pool.ids[known]], np.int64),
            label_explanations=labelled(fake.pool, fake.labels, needs).explanations,
            n_rounds=ROUNDS,
        )
        query, expected = strategy.query(in_memory, 10, RNG), fake.query(strategy, 10, RNG)
        assert query.items.ids.tolist() == expected.items.ids.tolist() and query.reasons == expected.reasons
        np.testing.assert_allclose(query.items.scores, expected.items.scores, rtol=1e-12)
