"""The default where there are embeddings: cover the pool while labels are few, then follow the uncertainty.

The rule reads what is known: the number of labels for each class, and whether every class has been seen. With fewer
than `few` labels a class, or a class without labels while there are fewer than `unseen`, probabilities say little:
`coverage` chooses. With `many` labels a class or more, the model is sure of most items, and `uncertainty` chooses.
Between them, where both count, `between` does. docs/strategies.md has the evidence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from xal.core.rng import HashRng
from xal.errors import XalError
from xal.strategies.diverse_mini_batch import DiverseMiniBatch
from xal.strategies.max_herding import MaxHerding
from xal.strategies.strategy import Passes, Strategy, Summary, Wrapper, probabilities_of
from xal.strategies.uncertainty_herding import UncertaintyHerding
from xal.types import Evidence, Labelled, Query


class Progress(NamedTuple):
    """How far labelling has come."""

    a_class: float
    """Labels for each class, in the mean."""
    seen: int
    """Classes with labels."""
    classes: int


@dataclass(frozen=True, kw_only=True)
class Auto(Wrapper, name="auto"):
    """Coverage first, then coverage weighted by uncertainty, then diverse uncertain items."""

    prepare_needs: ClassVar[frozenset[str]] = frozenset({"probabilities"})
    learns_from_labelled: ClassVar[bool] = True

    few: Annotated[float, Field(ge=0)] = 1.0
    """Labels a class below which `coverage` chooses."""
    unseen: Annotated[float, Field(ge=0)] = 3.0
    """Labels a class below which `coverage` also chooses if a class has none."""
    many: Annotated[float, Field(ge=0)] = 20.0
    """Labels a class from which on `uncertainty` chooses."""
    coverage: Strategy = field(default_factory=MaxHerding)
    """The strategy for few labels."""
    between: Strategy = field(default_factory=UncertaintyHerding)
    """The strategy between few and many."""
    uncertainty: Strategy = field(default_factory=DiverseMiniBatch)
    """The strategy for many labels."""

    def __post_init__(self) -> None:
        if not self.few <= self.unseen <= self.many:
            raise XalError(f"auto: expected few <= unseen <= many, got {self.few:g}, {self.unseen:g} and {self.many:g}")

    def wrapped(self) -> tuple[Strategy, ...]:
        """`coverage`, `between` and `uncertainty`."""
        return self.coverage, self.between, self.uncertainty

    def prepare(self, labelled: Labelled | None, sample: Evidence | None, summary: Summary | None) -> Progress | None:
        """How far labelling has come; None: nothing is labelled."""
        if labelled is None:
            return None
        classes = probabilities_of(labelled.evidence).shape[1]
        return Progress(len(labelled.labels) / classes, len(np.unique(labelled.labels)), classes)

    def chosen(self, progress: Progress | None) -> tuple[Strategy, str]:
        """The strategy for this progress, and why."""
        if progress is None:
            return self.coverage, "nothing is labelled"
        labels = f"labels a class: {progress.a_class:.3g}"
        if progress.a_class < self.few:
            return self.coverage, f"{labels}, fewer than {self.few:g}"
        if progress.a_class < self.unseen and progress.seen < progress.classes:
            return self.coverage, f"{progress.classes - progress.seen} of {progress.classes} classes have no label"
        if progress.a_class >= self.many:
            return self.uncertainty, f"{labels}, {self.many:g} or more"
        return self.between, labels

    def query(self, passes: Passes, budget: int, rng: HashRng) -> Query:
        """The query of the strategy that the rule names; its notes say so."""
        strategy, why = self.chosen(passes.prepare(self, budget, rng))
        return strategy.query(passes, budget, rng).noted(f"{strategy.name} ({why})")
