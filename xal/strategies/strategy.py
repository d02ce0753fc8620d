"""A query strategy consists of pure functions; the engine decides where they run.

    summarize(evidence, last) -> arrays  on shards    summed over the pool, in `n_summaries` passes
    prepare(labelled, ...)    -> state   coordinator  what the shards need to score: one vector, not a dataset
    score(evidence, state)    -> scores  on shards    one float64 per item
    select(shortlist, state)  -> items   coordinator  chosen from the best-scored items, with evidence if needed

Most strategies only implement `score`. Candidates, thresholds, fallbacks and schedules are separate strategies that
wrap any other one (`candidates`, `threshold`, `fallback`, `schedule`). They override `query`, which runs passes of the
engine.
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
EVIDENCE = frozenset(
    {
        "probabilities",
        "embeddings",
        "explanations",
        "interpretable_input",
        "label_explanations",
        "contrastive",
        "sampled_probabilities",
    }
)
"""What a strategy can need; see `xal.types.Evidence`."""
Summary = dict[str, Any]
"""Arrays by name, summed over the pool."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Which queried items are added to the round's training as copies with all but the top feature blurred."""

    limit: int | None
    """Maximum number of copies, of the best items; None: of all items that the strategy chose, not its fallback."""
    explained: Literal["prediction", "label"]
    """The class whose top feature stays visible."""


class Passes(Protocol):
    """The engine as a strategy sees it: passes over the unlabelled pool."""

    @property
    def round(self) -> int:
        """The current round of the campaign, from 1."""
        ...

    @property
    def n_rounds(self) -> int:
        """Number of rounds of the campaign, not counting round 0."""
        ...

    def prepare(self, strategy: Strategy, budget: int, rng: HashRng) -> Any:
        """The strategy's state, computed by its `summarize` and `prepare`."""
        ...

    def top(self, strategy: Strategy, n: int, rng: HashRng, state: Any = None, stage: str = "score") -> Scored:
        """The n items with the highest scores, with the evidence that `score` read."""
        ...

    def with_evidence(self, items: Scored, strategy: Strategy) -> Scored:
        """The items with the evidence that the strategy's `select_needs` names."""
        ...

    def among(self, rows: Rows) -> Self:
        """The same passes, restricted to these rows of the pool (ascending)."""
        ...

    def without(self, ids: Sequence[str]) -> Self:
        """The same passes, without these items."""
        ...


@dataclass(frozen=True, kw_only=True)
class Strategy(Component, ABC, family="strategy"):
    """Base of all query strategies; larger scores are queried first, ties by id."""

    needs: ClassVar[frozenset[str]] = frozenset({"probabilities"})
    """Evidence that `score` reads, of `xal.types.Evidence`; interpretable_input needs no model."""
    motive: ClassVar[str] = ""
    """Why it chooses an item, in words that complete "queried because"; its notes and probabilities say more."""
    prepare_needs: ClassVar[frozenset[str]] = frozenset()
    """Evidence that `prepare` reads; empty: nothing is prepared. label_explanations: explanations of the labels."""
    summary_needs: ClassVar[frozenset[str] | None] = None
    """Evidence that `summarize` reads; None: there is no summary."""
    select_needs: ClassVar[frozenset[str]] = frozenset()
    """Evidence that `select` reads, in `shortlist.evidence`."""
    n_summaries: ClassVar[int] = 1
    """Passes of `summarize`; each receives the result of the previous one."""
    spaces: ClassVar[frozenset[str]] = frozenset({"shared", "per_item", "ebano"})
    """Explanations that it can read, by the `space` of their explainer."""
    learns_from_labelled: ClassVar[bool] = False
    """Whether `prepare` reads the labelled items."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("needs", "prepare_needs", "summary_needs", "select_needs"):
            declared = cls.__dict__.get(name)
            if declared is None or isinstance(declared, property):
                continue
            if not isinstance(declared, frozenset) or declared - EVIDENCE:
                raise TypeError(f"{cls.__name__}.{name}: expected a frozenset of {sorted(EVIDENCE)}, got {declared!r}")

    @property
    def augmentation(self) -> Augmentation | None:
        """Synthetic copies that are added to the round's training without counting as labels; None: there are none."""
        return None

    @property
    def all_needs(self) -> frozenset[str]:
        """Evidence that any of its functions reads."""
        return self.needs | self.prepare_needs | self.select_needs | (self.summary_needs or frozenset())

    def parts(self) -> tuple[Strategy, ...]:
        """This strategy and all that it wraps; a recipe checks each of them."""
        return (self,)

    def query(self, passes: Passes, budget: int, rng: HashRng) -> Query:
        """At most `budget` items, best first."""
        state = passes.prepare(self, budget, rng)
        shortlist = passes.top(self, self.n_shortlist(budget), rng.child("score"), state)
        if self.select_needs:
            shortlist = passes.with_evidence(shortlist, self)
        return Query.of(self.select(shortlist, state, budget), self.name)

    def n_sample(self, budget: int) -> int:
        """Number of pool items, drawn at random, that `prepare` receives besides the labelled ones."""
        return 0

    def n_candidates(self, budget: int) -> int | None:
        """Number of items that the explanations of a query are limited to; None: the whole pool."""
        return None

    def n_shortlist(self, budget: int) -> int:
        """Number of best-scored items from which `select` chooses `budget` items."""
        return budget

    def summarize(self, evidence: Evidence, last: Summary | None) -> Summary:
        """Arrays to sum over the pool, such as moments; `last`: the sums of the previous pass, None in the first."""
        raise NotImplementedError(f"{self.name} does not implement summarize")

    def prepare(self, labelled: Labelled | None, sample: Evidence | None, summary: Summary | None) -> Any:
        """A small picklable state for `score`, from labelled items, a random sample, and the pool's summary."""
        return None

    @abstractmethod
    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        """(b,) scores."""

    def select(self, shortlist: Scored, state: Any, budget: int) -> Scored:
        """At most `budget` items of the shortlist, best first."""
        return shortlist.top(budget)


@dataclass(frozen=True, kw_only=True)
class Wrapper(Strategy):
    """Base of the strategies that run other strategies."""

    needs: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def wrapped(self) -> tuple[Strategy, ...]:
        """The strategies that this one runs."""

    def parts(self) -> tuple[Strategy, ...]:
        """This strategy and the parts of all that it runs."""
        return (self, *(part for strategy in self.wrapped() for part in strategy.parts()))

    @abstractmethod
    def query(self, passes: Passes, budget: int, rng: HashRng) -> Query:
        """The query, made from the queries of the wrapped strategies."""

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        """Never called; the wrapped strategies score."""
        raise TypeError(f"'{self.name}' does not score; it runs other strategies")


def probabilities_of(evidence: Evidence) -> Floats:
    """(b, c) class probabilities; raises TypeError if the strategy does not list them in `needs`."""
    return _required(evidence.probabilities, "probabilities")


def embeddings_of(evidence: Evidence) -> Floats:
    """(b, d) embeddings; raises TypeError if the strategy does not list them in `needs`."""
    return _required(evidence.embeddings, "embeddings")


def contrastive_of(evidence: Evidence) -> Floats:
    """(b, d) contrastive explanations; raises TypeError if the strategy does not list them in `needs`."""
    return _required(evidence.contrastive, "contrastive explanations")


def sampled_of(evidence: Evidence) -> Floats:
    """(b, t, c) sampled probabilities; raises TypeError if the strategy does not list them in `needs`."""
    return _required(evidence.sampled_probabilities, "sampled probabilities")


def margins(evidence: Evidence) -> Scores:
    """(b,) differences of the two largest class probabilities, in [0, 1]."""
    top = np.partition(probabilities_of(evidence), -2, axis=1)[:, -2:].astype(np.float64)
    return np.asarray(top[:, 1] - top[:, 0])


def _required(array: Floats | None, name: str) -> Floats:
    if array is None:
        raise TypeError(f"this evidence holds no {name}: list them in the strategy's `needs`")
    return array
