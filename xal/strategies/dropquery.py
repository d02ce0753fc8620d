"""DropQuery: query, spread over the embeddings, items whose prediction changes when most of their features are dropped.

Candidates are the items whose predicted class changes in more than half of three draws of dropout; if these are fewer
than 25 times the batch, those that change least rarely follow. They are clustered into as many clusters as there are
items to query, and the item nearest to each centre is queried.

S. Gupte and others, "Revisiting active learning in the era of vision foundation models", TMLR 2024. The draws are the
same for all items.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from xal.core.rng import HashRng
from xal.errors import XalError
from xal.strategies.clusters import k_means, nearest_distinct
from xal.strategies.joint import evidence_of, unit
from xal.strategies.strategy import Scores, Strategy, embeddings_of, probabilities_of, sampled_of
from xal.types import Evidence, Scored

SPARE = 25  # candidates for each item of the batch, at least


@dataclass(frozen=True, kw_only=True)
class DropQuery(Strategy, name="dropquery"):
    """Query items whose prediction depends on single features, one of each cluster."""

    needs: ClassVar[frozenset[str]] = frozenset({"probabilities", "sampled_probabilities"})
    select_needs: ClassVar[frozenset[str]] = frozenset({"embeddings", "probabilities"})

    draws: Annotated[int, Field(ge=1, le=10)] = 3
    """Draws of dropout, of the model's 10; of an ensemble, its members."""
    sample: Annotated[int, Field(ge=1, le=10**6)] = 20_000
    """Maximum number of candidates; more are drawn from at random."""

    def n_shortlist(self, budget: int) -> int:
        """The field `sample`, at least 25 times the budget."""
        return max(self.sample, SPARE * budget)

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        """(b,) draws that change the predicted class, plus a random number below 1; half of them and more count alike.

        So the shortlist is a random one of the candidates where these are more than its size.
        """
        predicted = probabilities_of(evidence).argmax(axis=1)
        drawn = sampled_of(evidence)[:, : self.draws]
        changed = (drawn.argmax(axis=2) != predicted[:, None]).sum(axis=1)
        enough = self.draws // 2 + 1
        if drawn.shape[1] < self.draws:
            raise XalError(f"dropquery.draws: {self.draws}, but the model gives {drawn.shape[1]} predictions an item")
        return np.asarray(np.minimum(changed, enough) + np.minimum(rng.uniform(evidence.ids), 1 - 2.0**-40))

    def select(self, shortlist: Scored, state: Any, budget: int) -> Scored:
        """The candidates nearest to the centres of their clusters."""
        if shortlist.evidence is None:
            return Scored.empty()
        enough = self.draws // 2 + 1
        many = max(int((shortlist.scores >= enough).sum()), SPARE * budget)
        candidates = shortlist.top(many)
        points = unit(embeddings_of(evidence_of(candidates)))
        centres, _ = k_means(points, budget)
        chosen = candidates.take(nearest_distinct(centres, points))
        changed = np.floor(chosen.scores).astype(int)
        at_least = ["at least " if count == enough else "" for count in changed]
        notes = [
            f"its prediction changes in {few}{count} of {self.draws} draws of dropout"
            for few, count in zip(at_least, changed, strict=True)
        ]
        return replace(chosen, notes=np.array(notes, object))
