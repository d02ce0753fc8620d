"""A query strategy is a plan of four pure functions; the engine decides where they run.

    prefilter(evidence, chance)  -> scores   on shards    every pool item; the best `survivors` go on (or another
                                                          strategy's whole plan chooses them: `preselection`)
    prepare(labelled, sample)    -> state    coordinator  what the shards must know: one vector, not a dataset
    score(evidence, state, ...)  -> scores   on shards    of the survivors, or of the whole pool without a prefilter
    select(scored, budget)       -> items    coordinator  thresholds, limits, diversity

What `select` leaves of the budget is queried by the strategy's `filler`, a plan of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from xal.chance import Chance
from xal.component import Component
from xal.types import Evidence, Floats, Labelled, Scored

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Which of a round's queried items its training sees a second time, with all but fmax blurred."""

    limit: int | None
    """At most so many, best first; None: all that the strategy itself chose, not its filler."""
    explained: Literal["prediction", "label"]
    """The class of interest whose strongest feature fmax is kept."""


@dataclass(frozen=True, kw_only=True)
class Strategy(Component, ABC, family="strategy"):
    """Base of all query strategies; larger scores are queried first, ties by id."""

    needs: ClassVar[frozenset[str]] = frozenset({"probabilities"})
    """What `score` looks at: any of probabilities, embeddings, explanations, and, without a model, represented."""
    prefilter_needs: ClassVar[frozenset[str]] = frozenset()
    """The same for `prefilter`; empty: ids alone, and no payload is read."""
    prepare_needs: ClassVar[frozenset[str]] = frozenset()
    """The same for `prepare`; empty: nothing is prepared. label_explanations: of labelled items, for their labels."""
    spaces: ClassVar[frozenset[str]] = frozenset({"shared", "own", "ebano"})
    """Explanations it can read, by their explainer's `space`."""
    learns_from_labelled: ClassVar[bool] = False
    """Whether `prepare` looks at the labelled items."""

    def at(self, round: int, rounds: int) -> Strategy:
        """The strategy that runs in this round, 1..rounds."""
        return self

    def survivors(self, budget: int) -> int | None:
        """How many items pass the prefilter; None: there is none, `score` sees the whole pool."""
        return None

    def preselection(self) -> Strategy | None:
        """The strategy whose query of `survivors` items `score` then sees; None: those that `prefilter` puts first."""
        return None

    def sample_size(self, budget: int) -> int:
        """How many pool items, drawn at random, `prepare` sees besides the labelled ones."""
        return 0

    def shortlist(self, budget: int) -> int:
        """How many of the best-scored items `select` must see to spend `budget`."""
        return budget

    def filler(self) -> Strategy | None:
        """The strategy that spends what `select` left of the budget."""
        return None

    def augmentation(self) -> Augmentation | None:
        """Synthetic copies that join the round's training and count as no labels; None: there are none."""
        return None

    def prefilter(self, evidence: Evidence, chance: Chance) -> Scores:
        """(b,) scores of the first, cheap pass."""
        raise NotImplementedError(f"{self.name} has no prefilter")

    def prepare(self, labelled: Labelled | None, sample: Evidence | None) -> Any:
        """A small picklable state for `score`, from the labelled items and from evidence on a random sample."""
        return None

    @abstractmethod
    def score(self, evidence: Evidence, state: Any, chance: Chance) -> Scores:
        """(b,) scores."""

    def select(self, scored: Scored, budget: int) -> Scored:
        """At most `budget` of the shortlist, best first."""
        return scored.top(budget)


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
