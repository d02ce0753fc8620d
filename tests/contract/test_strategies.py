"""Every registered strategy through the invariants that engines rely on."""

import dataclasses

import numpy as np
import pytest

from xal.core.rng import HashRng
from xal.strategies import Strategy
from xal.types import Evidence, Explanations, Labelled, Scored

N, CLASSES, FEATURES, ROUNDS = 61, 5, 4, 3
RNG = HashRng(7).child("round", 1)


def build(name):
    kind = Strategy.named(name)
    return kind(strategies=(Strategy.named("margin")(), Strategy.named("random")())) if name == "schedule" else kind()


def that_run():
    """The strategies that score: schedules by what they run in each round."""
    found = {name: build(name) for name in Strategy.registry}
    return [
        pytest.param(strategy.at(r, ROUNDS), id=f"{name}-round{r}")
        for name, strategy in found.items()
        for r in range(1, ROUNDS + 1)
        if r == 1 or strategy.at(r, ROUNDS) is not strategy
    ]


STRATEGIES = that_run()


def evidence(seed=0, n=N):
    generator = np.random.default_rng(seed)
    npir, npirp = generator.uniform(-1, 1, (2, n, FEATURES))
    k = generator.integers(2, FEATURES + 1, n)
    beyond = np.arange(FEATURES) >= k[:, None]
    npir[beyond] = npirp[beyond] = np.nan
    probabilities = generator.dirichlet(np.ones(CLASSES), n)
    probabilities[0] = np.eye(CLASSES)[1]  # certain: zeros among the probabilities
    probabilities[1] = 1 / CLASSES
    return Evidence(
        ids=np.array([f"item-{i:03d}" for i in generator.permutation(n)], object),
        rows=np.arange(n),
        probabilities=probabilities,
        embeddings=generator.normal(size=(n, 8)),
        interpretable_input=generator.uniform(size=(n, 6)),
        explanations=Explanations(
            segments=(generator.integers(0, 256, (n, 3, 3)) % k[:, None, None]).astype(np.uint8),
            attributions=npir,
            interpretable_input=np.where(np.isnan(npir), np.nan, 1.0),
            npirp=npirp,
            explained_class=probabilities.argmax(axis=1),
            probability=probabilities.max(axis=1),
            per_item=True,
        ),
    )


def needed(given, needs):
    """Evidence as an engine gives it: what was not asked for is None."""
    names = ("probabilities", "embeddings", "explanations", "interpretable_input")
    return dataclasses.replace(given, **{name: None for name in names if name not in needs})


def passes(strategy):
    """The passes over evidence: (name, function of evidence and chance, what it needs)."""
    found = [("score", lambda given, rng: strategy.score(given, state(strategy), rng), strategy.needs)]
    if strategy.survivors(10) is not None:
        found.append(("prefilter", strategy.prefilter, strategy.prefilter_needs))
    return found


def state(strategy):
    if not strategy.prepare_needs:
        return None
    if strategy.name == "explanation_disagreement":
        return strategy.prepare(None, by_column(evidence(2, 12)))
    known = needed(evidence(1, 9), strategy.prepare_needs)
    labelled = Labelled(evidence=known, labels=np.arange(9) % CLASSES)
    return strategy.prepare(labelled, needed(evidence(2, 12), strategy.prepare_needs))


def by_column(given):
    """Evidence with explanations of six columns, as of a table."""
    values = np.random.default_rng(5).normal(size=(2, len(given), 6))
    explanations = dataclasses.replace(
        given.explanations, attributions=values[0], interpretable_input=values[1], npirp=None, segments=None, per_item=False
    )
    return dataclasses.replace(given, explanations=explanations)


def frozen(given):
    """The same evidence; writing to any array of it raises."""
    parts = [vars(given), vars(given.explanations) if given.explanations is not None else {}]
    for array in (value for part in parts for value in part.values() if isinstance(value, np.ndarray)):
        array.setflags(write=False)
    return given


def test_the_family_is_not_empty():
    assert {"random", "entropy", "margin", "least_confidence", "ebano_uncertainty"} <= set(Strategy.registry)


@pytest.mark.parametrize("strategy", STRATEGIES)
class TestScores:
    def test_one_finite_float64_an_item(self, strategy):
        for _, function, needs in passes(strategy):
            scores = function(needed(evidence(), needs), RNG)
            assert scores.shape == (N,) and scores.dtype == np.float64
            assert np.isfinite(scores).all()

    def test_of_one_item(self, strategy):
        for _, function, needs in passes(strategy):
            assert function(needed(evidence(n=2).take(slice(0, 1)), needs), RNG).shape == (1,)

    def test_deterministic(self, strategy):
        for _, function, needs in passes(strategy):
            first = function(needed(evidence(), needs), RNG)
            np.random.seed(1)  # noqa: NPY002 - a strategy must not look at the global generator
            np.testing.assert_array_equal(function(needed(evidence(), needs), RNG), first)

    @pytest.mark.parametrize("size", [1, 7, 60])
    def test_the_same_however_the_batch_is_split(self, strategy, size):
        for _, function, needs in passes(strategy):
            given = needed(evidence(), needs)
            parts = [function(given.take(slice(i, i + size)), RNG) for i in range(0, N, size)]
            np.testing.assert_array_equal(np.concatenate(parts), function(given, RNG))

    def test_follow_the_items_when_they_are_permuted(self, strategy):
        order = np.random.default_rng(3).permutation(N)
        for _, function, needs in passes(strategy):
            given = needed(evidence(), needs)
            np.testing.assert_array_equal(function(given.take(order), RNG), function(given, RNG)[order])

    def test_do_not_depend_on_the_row_in_the_pool(self, strategy):
        for _, function, needs in passes(strategy):
            given = needed(evidence(), needs)
            moved = dataclasses.replace(given, rows=given.rows[::-1] + 1000)
            np.testing.assert_array_equal(function(moved, RNG), function(given, RNG))

    def test_inputs_are_not_written_to(self, strategy):
        for _, function, needs in passes(strategy):
            given = frozen(needed(evidence(), needs))
            function(given, RNG)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("budget", [1, 10, N, N + 5])
class TestSelect:
    def shortlist(self, strategy, budget):
        given = needed(evidence(), strategy.needs)
        scores = strategy.score(given, state(strategy), RNG)
        return Scored(ids=given.ids, rows=given.rows, scores=scores).top(strategy.shortlist(budget))

    def test_unique_items_of_the_shortlist_within_the_budget(self, strategy, budget):
        offered = self.shortlist(strategy, budget)
        chosen = strategy.select(offered, budget)
        known = {item: (row, score) for item, row, score in zip(offered.ids, offered.rows, offered.scores, strict=True)}
        assert len(chosen) <= min(budget, len(offered))
        assert len(set(chosen.ids)) == len(chosen)
        for item, row, score in zip(chosen.ids, chosen.rows, chosen.scores, strict=True):
            assert known[item] == (row, score)

    def test_spends_the_budget_or_names_a_filler(self, strategy, budget):
        offered = self.shortlist(strategy, budget)
        assert len(strategy.select(offered, budget)) == min(budget, N) or strategy.fallback() is not None

    def test_independent_of_the_order_given(self, strategy, budget):
        offered = self.shortlist(strategy, budget)
        shuffled = offered.take(np.random.default_rng(4).permutation(len(offered)))
        assert strategy.select(shuffled, budget).ids.tolist() == strategy.select(offered, budget).ids.tolist()

    def test_inputs_are_not_written_to(self, strategy, budget):
        offered = self.shortlist(strategy, budget)
        for array in vars(offered).values():
            array.setflags(write=False)
        strategy.select(offered, budget)

    def test_nothing_offered_nothing_chosen(self, strategy, budget):
        assert len(strategy.select(Scored.empty(), budget)) == 0
