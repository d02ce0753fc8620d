"""Tasks that run on shards: map the evidence of each batch to a small value, then join the values of a shard."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from xal.core.answers import check_numbers
from xal.core.rng import HashRng
from xal.data.embeddings import Embeddings
from xal.data.label_space import LabelSpace
from xal.data.sharding import Block
from xal.encoders import Encoder
from xal.errors import RunError, XalError
from xal.evaluation.classification import Confusion
from xal.explainers import Explainer
from xal.models.model import Model
from xal.strategies.strategy import Strategy, Summary
from xal.types import Evidence, Rows, Scored, Shape

UNREADABLE = "cannot be read"
KEPT = frozenset({"probabilities", "explanations"})
"""Evidence that is kept of the best items, for the record of the query, besides what the choice needs."""
SUMMARY_BATCHES = 16  # per shard of a summary; fixed, so that sums round alike on every engine


@dataclass(frozen=True, kw_only=True)
class ModelRef:
    """Reference to a trained model: small enough to travel with every shard; a restarted worker loads it again."""

    model: Model
    weights: Path
    version: str
    shape: Shape
    n_classes: int
    baselines: npt.NDArray[Any] | None = None
    """(m, ...) labelled items, for explainers that replace masked features by those of other items."""


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """The result of a task on one shard."""

    value: Any
    items: int  # items of the shard, those that failed included
    first: int = 0  # the shard's first row
    unreadable: tuple[tuple[str, str], ...] = ()  # (id, reason) of items that cannot be decoded or scored


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """Base of the tasks: what to compute from each batch, and how to join the batches of a shard."""

    labels: ClassVar[bool] = False
    """Whether the task reads the pool's labels; only evaluation does."""

    needs: frozenset[str]
    model: ModelRef | None = None
    explainer: Explainer | None = None
    explained: Mapping[str, int] | None = None
    """Class to explain, by id; None: the predicted class."""
    max_failures: int = 100
    """Number of items that may fail; see Engine.max_failures."""
    explanation_cache: Path | None = None
    """Folder of the cached explanations of this model and explainer; None: no cache."""
    n_batches: int | None = None
    """Batches per shard; None: the engine decides."""
    encoder: Encoder | None = None
    """Computes the embeddings of a task without a model."""
    on_vectors: bool = False
    """Whether blocks hold kept vectors in place of payloads, so that the model's head alone predicts."""

    @property
    def without_model(self) -> bool:
        """Whether the task needs no predictions: only ids, or interpretable inputs."""
        return self.needs <= {"interpretable_input"}

    @abstractmethod
    def map(self, evidence: Evidence, columns: Block) -> Any:
        """Reduce a batch to a small value; `columns`: the batch's part of the block."""

    @abstractmethod
    def join(self, values: Sequence[Any]) -> Any:
        """Join the values of a shard's batches, possibly none, into one small value."""

    def reduce(self, values: Sequence[Any], rows: Rows) -> Any:
        """`join` for a shard of these rows, those of unreadable items included."""
        return self.join(values)


@dataclass(frozen=True, kw_only=True)
class Embed(ShardTask):
    """Compute vectors and keep them; a shard is a chunk of the store."""

    embeddings: Embeddings

    def map(self, evidence: Evidence, columns: Block) -> Evidence:
        """Return the evidence unchanged."""
        return evidence

    def join(self, values: Sequence[Evidence]) -> int:
        """The number of vectors."""
        return sum(map(len, values))

    def reduce(self, values: Sequence[Evidence], rows: Rows) -> int:
        """Write the chunk, with NaN for items without a vector, and return the number of vectors."""
        vectors = np.full((len(rows), self.embeddings.width), np.nan, np.float32)
        for part in values:
            vectors[part.rows - rows[0]] = part.embeddings
        self.embeddings.write(int(rows[0]), vectors)
        return self.join(values)


@dataclass(frozen=True, kw_only=True)
class Score(ShardTask):
    """Score with a strategy and keep the `keep` best items of the shard."""

    strategy: Strategy
    rng: HashRng
    keep: int
    state: Any = None
    keep_evidence: bool = False
    """Whether the evidence of the best items is returned with them."""

    def map(self, evidence: Evidence, columns: Block) -> Scored:
        """Score a batch; raises NumericalError for scores that are not finite."""
        scores = self.strategy.score(evidence, self.state, self.rng)
        check_numbers(
            f"strategy '{self.strategy.name}'", "scores", scores, (len(evidence),), "one number an item", evidence.ids
        )
        return Scored(
            ids=evidence.ids,
            rows=evidence.rows,
            scores=np.asarray(scores, np.float64),
            evidence=evidence.only(KEPT | self.strategy.select_needs) if self.keep_evidence else None,
        )

    def join(self, values: Sequence[Scored]) -> Scored:
        """The shard's best items; only their evidence is joined."""
        if not self.keep_evidence:
            return Scored.concatenate(values).top(self.keep)
        best = Scored.concatenate([replace(part, evidence=None) for part in values]).top(self.keep)
        best_parts = [part.take(np.isin(part.rows, best.rows)) for part in values]
        return Scored.concatenate(best_parts).top(self.keep)


@dataclass(frozen=True, kw_only=True)
class Summarize(ShardTask):
    """Sum a strategy's summary over the pool; batches are added in order."""

    strategy: Strategy
    last: Summary | None
    n_batches: int | None = SUMMARY_BATCHES

    def map(self, evidence: Evidence, columns: Block) -> Summary:
        """The summary of a batch."""
        summary = self.strategy.summarize(evidence, self.last)
        if not isinstance(summary, Mapping):
            raise XalError(f"strategy '{self.strategy.name}' summarized as {type(summary).__name__}; expected a dict")
        for name, array in summary.items():
            check_numbers(
                f"strategy '{self.strategy.name}'", f"summary '{name}'", array, np.shape(array), "numbers", [name]
            )
        return summary

    def join(self, values: Sequence[Summary]) -> Summary | None:
        """The sum of the summaries; None for an empty shard."""
        return add_summaries(values)


def add_summaries(values: Sequence[Summary]) -> Summary | None:
    """Sum the arrays of the summaries by name, in the given order; None for no summaries."""
    total: Summary | None = None
    for value in values:
        total = value if total is None else {name: total[name] + array for name, array in value.items()}
    return total


@dataclass(frozen=True, kw_only=True)
class Collect(ShardTask):
    """Return the evidence itself; meant for few items."""

    def map(self, evidence: Evidence, columns: Block) -> Evidence:
        """Return the evidence unchanged."""
        return evidence

    def join(self, values: Sequence[Evidence]) -> Evidence | None:
        """The evidence of the shard; None for an empty shard."""
        return Evidence.concatenate(values) if values else None


@dataclass(frozen=True, kw_only=True)
class Measure(ShardTask):
    """Compare predictions with the labels of a test pool."""

    labels: ClassVar[bool] = True
    label_space: LabelSpace

    def map(self, evidence: Evidence, columns: Block) -> Confusion:
        """Confusion counts of the items with labels; raises XalError for labels outside the classes."""
        labels = columns["label"]
        kept = np.array([label is not None and bool(label.strip()) for label in labels], bool)
        labels = np.asarray(labels, object)[kept]
        unknown = self.label_space.unknown(labels)
        if unknown:
            raise XalError(f"the test pool has labels outside the classes: {', '.join(unknown[:5])}")
        probabilities = np.asarray(evidence.probabilities)[kept]
        unseen = len(self.label_space) - probabilities.shape[1]  # classes that were added after the training
        return Confusion.of(np.pad(probabilities, ((0, 0), (0, unseen))), self.label_space.encode(labels))

    def join(self, values: Sequence[Confusion]) -> Confusion:
        """The sum of the counts."""
        return sum(values, Confusion.none(len(self.label_space)))


def check_failures(failed: Sequence[tuple[str, str]], max_failures: int) -> None:
    """Raise RunError for more than `max_failures` failures, given as (id, reason); undecodable items do not count."""
    failures = [(item, reason) for item, reason in failed if reason != UNREADABLE]
    if len(failures) > max_failures:
        raise RunError(
            f"more than {max_failures} items fail (engine.max_failures), first '{failures[0][0]}': {failures[0][1]}; "
            "check the model, the explainer, the strategy and these items"
        )
