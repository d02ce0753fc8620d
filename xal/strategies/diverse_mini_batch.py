"""Diverse mini-batches: query uncertain items, one of each cluster.

The `spare` x B items of smallest margin are clustered by k-means with weights 1 - margin into B clusters, and the item
nearest to each centre is queried (F. Zhdanov, "Diverse mini-batch active learning", 2019; named as future work by
Nguyen and Ghose).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from xal.core.rng import HashRng
from xal.strategies.clusters import k_means, nearest_distinct
from xal.strategies.joint import evidence_of, unit
from xal.strategies.strategy import Scores, Strategy, embeddings_of, margins
from xal.types import Evidence, Scored


@dataclass(frozen=True, kw_only=True)
class DiverseMiniBatch(Strategy, name="diverse_mini_batch"):
    """Query items of small margin that differ from each other."""

    select_needs: ClassVar[frozenset[str]] = frozenset({"embeddings", "probabilities"})
    motive: ClassVar[str] = "it stands for a cluster of uncertain items"

    spare: Annotated[int, Field(ge=1)] = 10
    """Candidates for each item of the batch."""

    def n_shortlist(self, budget: int) -> int:
        """`spare` times the budget."""
        return self.spare * budget

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        """(b,) minus the margin."""
        return -margins(evidence)

    def select(self, shortlist: Scored, state: Any, budget: int) -> Scored:
        """The candidates nearest to the centres of their clusters, in the order of their margins."""
        if shortlist.evidence is None:
            return Scored.empty()
        shortlist = shortlist.top(len(shortlist))
        points = unit(embeddings_of(evidence_of(shortlist)))
        weights = np.maximum(1 - margins(evidence_of(shortlist)), 1e-6)
        centres, clusters = k_means(points, budget, weights)
        chosen = nearest_distinct(centres, points)
        sizes = np.bincount(clusters, minlength=len(centres))
        notes = [f"{size} of the {len(points)} most uncertain items are in its cluster" for size in sizes.tolist()]
        items = replace(shortlist.take(chosen), notes=np.array(notes, object))
        return items.top(budget)
