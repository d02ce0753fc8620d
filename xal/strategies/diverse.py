"""Diverse sampling: sparse regions of the pool are sampled as often as dense ones, in one pass over the shards.

A random sample of the pool is clustered in the model's embeddings. The density at x is estimated as the share n_j / n
of its nearest cluster j. Items are then drawn without replacement with weights w = 1 / n_j by the method of Efraimidis
and Spirakis (2006): the k largest keys u^(1/w), where u is a hash of (seed, round, id). So all clusters are about
equally likely, and since a key depends on its own item alone, the shards are merged by top-k.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from xal.core.rng import HashRng
from xal.errors import XalError
from xal.strategies.clusters import k_means
from xal.strategies.strategy import Scores, Strategy, Summary, embeddings_of
from xal.types import Evidence, Floats, Labelled


@dataclass(frozen=True, kw_only=True)
class Diverse(Strategy, name="diverse"):
    """Query at random, evenly over clusters of the embeddings."""

    motive: ClassVar[str] = "drawn at random, evenly over clusters"

    needs: ClassVar[frozenset[str]] = frozenset({"embeddings"})
    prepare_needs: ClassVar[frozenset[str]] = frozenset({"embeddings"})

    clusters: Annotated[int, Field(ge=1)] = 64
    """Number of clusters."""
    sample: Annotated[int, Field(ge=1)] = 4096
    """Pool items drawn for clustering."""

    def n_sample(self, budget: int) -> int:
        """The field `sample`."""
        return self.sample

    def prepare(
        self, labelled: Labelled | None, sample: Evidence | None, summary: Summary | None
    ) -> tuple[Floats, Floats]:
        """((k, d) cluster centres, (k,) number of sampled items in each cluster)."""
        if sample is None:
            raise XalError("diverse: expected unlabelled items to cluster, but no item of the pool is left")
        embeddings = np.asarray(embeddings_of(sample), np.float32)
        centres, clusters = k_means(embeddings, self.clusters)
        counts = np.bincount(clusters, minlength=len(centres))
        return centres, np.maximum(counts, 1).astype(np.float64)

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        """(b,) log(u) / w, the logarithm of the key, below 0."""
        centres, counts = state
        embeddings = np.asarray(embeddings_of(evidence), np.float32)
        nearest = (np.einsum("kd,kd->k", centres, centres) - 2 * embeddings @ centres.T).argmin(axis=1)
        draws = np.maximum(rng.uniform(evidence.ids), np.finfo(np.float64).tiny)
        scores: Scores = np.log(draws) * counts[nearest]
        return scores
