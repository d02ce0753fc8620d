"""A query strategy is a plan of pure functions; the engine decides where they run.

    summarize(evidence, last) -> arrays  on shards    added up over the pool, as often as `n_summaries` says
    prepare(labelled, ...)    -> state   coordinator  what the shards must know: one vector, not a dataset
    score(evidence, state)    -> scores  on shards    one float64 an item
    select(shortlist, state)  -> items   coordinator  of the best-scored items, with their evidence if asked for

Most strategies are `score` alone. Choosing candidates, thresholds, falling back and schedules are strategies of their
own that wrap any other (`candidates`, `threshold`, `fallback`, `schedule`); they override `query`, which says what is
asked of the engine and in which order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt

from xal.core.registry import Component
from xal.core.rng import HashRng
from xal.types import Evidence, Floats, Labelled, Query, Rows, Scored

Scores = npt.NDArray[np.float64]
Summary = dict[str, Any]
"""Arrays by name, added up over the pool."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Which of a round's queried items its training sees a second time, with all but the top feature blurred."""

    limit: int | None
    """At most so many, best first; None: all that the strategy itself chose, not its fallback."""
    explained: Literal["prediction", "label"]
    """The class of interest whose top feature is kept."""


class Passes(Protocol):
    """What a strategy may ask of the engine: passes over the unlabelled pool."""

    @property
    def round(self) -> int:
        """Of the campaign, from 1."""
        ...

    @property
    def n_rounds(self) -> int:
        """Of the campaign, after round 0."""
        ...

    def prepare(self, strategy: Strategy, budget: int, rng: HashRng) -> Any:
        """The strategy's state, by its `summarize` and `prepare`."""
        ...

    def top(self, strategy: Strategy, n: int, rng: HashRng, state: Any = None, stage: str = "score") -> Scored:
        """The n items that the strategy's `score` puts first, with the evidence it looked at."""
        ...

    def with_evidence(self, items: Scored, strategy: Strategy) -> Scored:
        """The items with what the strategy's `select_needs` names."""
        ...

    def among(self, rows: Rows) -> Self:
        """The same, of these rows of the pool alone (ascending)."""
        ...

    def without(self, ids: Sequence[str]) -> Self:
        """The same, of the pool without these items."""
        ...


@dataclass(frozen=True, kw_only=True)
class Strategy(Component, ABC, family="strategy"):
    """Base of all query strategies; larger scores are queried first, ties by id."""

    needs: ClassVar[frozenset[str]] = frozenset({"probabilities"})
    """What `score` looks at: probabilities, embeddings, explanations and, without a model, interpretable_input."""
    prepare_needs: ClassVar[frozenset[str]] = frozenset()
    """The same for `prepare`; empty: nothing is prepared. label_explanations: of labelled items, for their labels."""
    summary_needs: ClassVar[frozenset[str] | None] = None
    """The same for `summarize`; None: the pool is not summed up."""
    select_needs: ClassVar[frozenset[str]] = frozenset()
    """The same for `select`, which then finds it in `shortlist.evidence`."""
    n_summaries: ClassVar[int] = 1
    """Passes of `summarize`, each of which is given what the last one came to."""
    spaces: ClassVar[frozenset[str]] = frozenset({"shared", "per_item", "ebano"})
    """Explanations it can read, by their explainer's `space`."""
    learns_from_labelled: ClassVar[bool] = False
    """Whether `prepare` looks at the labelled items."""

    @property
    def augmentation(self) -> Augmentation | None:
        """Synthetic copies that join the round's training and count as no labels; None: there are none."""
        return None

    def parts(self) -> tuple[Strategy, ...]:
        """The strategy, and those that it wraps: what a recipe checks."""
        return (self,)

    def query(self, passes: Passes, budget: int, rng: HashRng) -> Query:
        """At most `budget` items, best first."""
        state = passes.prepare(self, budget, rng)
        shortlist = passes.top(self, self.n_shortlist(budget), rng.child("score"), state)
        if self.select_needs:
            shortlist = passes.with_evidence(shortlist, self)
        return Query.of(self.select(shortlist, state, budget), self.name)

    def n_sample(self, budget: int) -> int:
        """How many pool items, drawn at random, `prepare` sees besides the labelled ones."""
        return 0

    def n_shortlist(self, budget: int) -> int:
        """How many of the best-scored items `select` must see to spend `budget`."""
        return budget

    def summarize(self, evidence: Evidence, last: Summary | None) -> Summary:
        """Arrays that are added up over the pool, such as moments; `last`: what the pass before came to."""
        raise NotImplementedError(f"{self.name} does not sum the pool up")

    def prepare(self, labelled: Labelled | None, sample: Evidence | None, summary: Summary | None) -> Any:
        """A small picklable state for `score`, from labelled items, a random sample, and the pool's summary."""
        return None

    @abstractmethod
    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        """(b,) scores."""

    def select(self, shortlist: Scored, state: Any, budget: int) -> Scored:
        """At most `budget` of the shortlist, best first."""
        return shortlist.top(budget)


@dataclass(frozen=True, kw_only=True)
class Wrapper(Strategy):
    """Base of the strategies that run others."""

    needs: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def wrapped(self) -> tuple[Strategy, ...]:
        """The strategies that it runs."""

    def parts(self) -> tuple[Strategy, ...]:
        """Itself, and all parts of those that it runs."""
        return (self, *(part for strategy in self.wrapped() for part in strategy.parts()))

    @abstractmethod
    def query(self, passes: Passes, budget: int, rng: HashRng) -> Query:
        """What it makes of the others' queries."""

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        """Never called: those that it runs score."""
        raise TypeError(f"'{self.name}' does not score; it runs other strategies")


def probabilities_of(evidence: Evidence) -> Floats:
    """(b, c) class probabilities; a strategy that reads them lists them in `needs`."""
    if evidence.probabilities is None:
        raise TypeError("this evidence holds no probabilities: list them in the strategy's `needs`")
    return evidence.probabilities


def embeddings_of(evidence: Evidence) -> Floats:
    """(b, d) embeddings; a strategy that reads them lists them in `needs`."""
    if evidence.embeddings is None:
        raise TypeError("this evidence holds no embeddings: list them in the strategy's `needs`")
    return evidence.embeddings
