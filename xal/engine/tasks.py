"""What runs on shards: gather evidence on a unit of the pool batch by batch, and reduce it to something small."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from xal.core.rng import HashRng
from xal.data.label_space import LabelSpace
from xal.data.sharding import Block
from xal.errors import NumericalError, RunError, XalError
from xal.evaluation.classification import Confusion
from xal.explainers import Explainer
from xal.models.model import Model
from xal.strategies.strategy import Strategy, Summary
from xal.types import Evidence, Scored, Shape

UNREADABLE = "cannot be read"
SUMMARY_BATCHES = 16  # of a shard that is summed up: the same on every engine, or sums would round otherwise


@dataclass(frozen=True, kw_only=True)
class ModelRef:
    """Where a trained model is; small, so it travels with every unit and a restarted worker finds it again."""

    model: Model
    weights: Path
    version: str
    shape: Shape
    n_classes: int
    baselines: npt.NDArray[Any] | None = None
    """(m, ...) labelled items, for explainers that put them in the place of what is masked."""


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """What a shard comes to."""

    value: Any
    items: int
    first: int = 0  # the shard's first row
    unreadable: tuple[tuple[str, str], ...] = ()  # (id, why): what cannot be decoded, or cannot be scored


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """What is done with the evidence on each batch, and how what comes of the batches is joined."""

    labels: ClassVar[bool] = False
    """Whether the reduction sees the pool's labels: evaluation alone."""

    needs: frozenset[str]
    model: ModelRef | None = None
    explainer: Explainer | None = None
    explained: Mapping[str, int] | None = None
    """Class of interest by id; None: the predicted one."""
    max_failures: int = 100
    """Items that may fail; see Engine.max_failures."""
    explanation_cache: Path | None = None
    """Where explanations by this model and explainer are kept; None: nowhere."""
    n_batches: int | None = None
    """Batches of a shard; None: as many as suit the engine."""

    @property
    def without_model(self) -> bool:
        """Whether ids, or the items' own representation, are enough."""
        return self.needs <= {"interpretable_input"}

    @abstractmethod
    def map(self, evidence: Evidence, columns: Block) -> Any:
        """Evidence on a batch, with the block's columns for it -> a small value."""

    @abstractmethod
    def join(self, values: Sequence[Any]) -> Any:
        """The values of a unit's batches, of which there may be none -> one small value."""


@dataclass(frozen=True, kw_only=True)
class Score(ShardTask):
    """Scores of a strategy, only the `keep` best of the shard."""

    strategy: Strategy
    rng: HashRng
    keep: int
    state: Any = None
    keep_evidence: bool = False
    """Whether the evidence on the best travels with them."""

    def map(self, evidence: Evidence, columns: Block) -> Scored:
        """The scores of a batch."""
        scores = self.strategy.score(evidence, self.state, self.rng)
        finite = np.isfinite(scores)
        if not finite.all():
            raise NumericalError(
                f"strategy '{self.strategy.name}' gave {int((~finite).sum())} scores that are not finite, "
                f"first for id '{evidence.ids[~finite][0]}'"
            )
        kept = evidence if self.keep_evidence else None
        return Scored(ids=evidence.ids, rows=evidence.rows, scores=np.asarray(scores, np.float64), evidence=kept)

    def join(self, values: Sequence[Scored]) -> Scored:
        """The local top-k; evidence is joined of those alone."""
        if not self.keep_evidence:
            return Scored.concatenate(values).top(self.keep)
        best = Scored.concatenate([replace(part, evidence=None) for part in values]).top(self.keep)
        kept = [part.take(np.isin(part.rows, best.rows)) for part in values]
        return Scored.concatenate(kept).top(self.keep)


@dataclass(frozen=True, kw_only=True)
class Summarize(ShardTask):
    """What a strategy sums up over the pool; batches are added in their order."""

    strategy: Strategy
    last: Summary | None
    n_batches: int | None = SUMMARY_BATCHES

    def map(self, evidence: Evidence, columns: Block) -> Summary:
        """The summary of a batch."""
        return self.strategy.summarize(evidence, self.last)

    def join(self, values: Sequence[Summary]) -> Summary | None:
        """Their sum; None where the shard holds no item."""
        return add_summaries(values)


def add_summaries(values: Sequence[Summary]) -> Summary | None:
    """The sum of each array, in the order given."""
    total: Summary | None = None
    for value in values:
        total = value if total is None else {name: total[name] + array for name, array in value.items()}
    return total


@dataclass(frozen=True, kw_only=True)
class Collect(ShardTask):
    """The evidence itself, for a few items."""

    def map(self, evidence: Evidence, columns: Block) -> Evidence:
        """As it is."""
        return evidence

    def join(self, values: Sequence[Evidence]) -> Evidence | None:
        """All evidence of the unit; None where it holds no item."""
        return Evidence.concatenate(values) if values else None


@dataclass(frozen=True, kw_only=True)
class Measure(ShardTask):
    """Predictions against the labels of a test pool."""

    labels: ClassVar[bool] = True
    label_space: LabelSpace

    def map(self, evidence: Evidence, columns: Block) -> Confusion:
        """The batch's counts; raises XalError for labels outside the classes."""
        unknown = self.label_space.unknown(columns["label"])
        if unknown:
            raise XalError(f"the test pool has labels outside the classes: {', '.join(unknown[:5])}")
        return Confusion.of(np.asarray(evidence.probabilities), self.label_space.encode(columns["label"]))

    def join(self, values: Sequence[Confusion]) -> Confusion:
        """Their sums."""
        return sum(values, Confusion.none(len(self.label_space)))


def check_failures(failed: Sequence[tuple[str, str]], most: int) -> None:
    """Raise RunError where more than `most` of the (id, why) are failures, and not images that cannot be decoded."""
    failures = [(item, reason) for item, reason in failed if reason != UNREADABLE]
    if len(failures) > most:
        raise RunError(
            f"more than {most} items fail (engine.max_failures), first '{failures[0][0]}': {failures[0][1]}; "
            "look at the model, the explainer and the strategy, or at these items"
        )
