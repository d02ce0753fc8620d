"""Strategies that use what the shipped ones do not: summaries of the pool, and evidence on the shortlist."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xal.core.rng import HashRng
from xal.strategies.strategy import Scores, Strategy, Summary, embeddings_of, probabilities_of
from xal.types import Evidence, Labelled, Scored


@dataclass(frozen=True, kw_only=True)
class FarFromLabelled(Strategy):
    """Far from the labelled items' mean probabilities; draws a sample that it does not need."""

    prepare_needs: ClassVar[frozenset[str]] = frozenset({"probabilities"})
    learns_from_labelled: ClassVar[bool] = True

    def n_sample(self, budget: int) -> int:
        return 7

    def prepare(self, labelled: Labelled | None, sample: Evidence | None, summary: Summary | None) -> Any:
        if labelled is None or sample is None or len(sample) != 7 or set(sample.ids) & set(labelled.evidence.ids):
            raise AssertionError("expected the labelled items and seven others")
        return probabilities_of(labelled.evidence).mean(axis=0)

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        return np.linalg.norm(probabilities_of(evidence) - state, axis=1).astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class FarFromMean(Strategy):
    """Far from the pool's mean embedding, in standard deviations: two passes sum the pool up, in float32.

    The scores show every rounding: they differ as soon as two sums are added in another order.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"embeddings"})
    summary_needs: ClassVar[frozenset[str] | None] = frozenset({"embeddings"})
    n_summaries: ClassVar[int] = 2

    def summarize(self, evidence: Evidence, last: Summary | None) -> Summary:
        embeddings = np.asarray(embeddings_of(evidence), np.float32)
        if last is None:
            return {"n": len(evidence), "total": embeddings.sum(axis=0)}
        mean = last["total"] / np.float32(last["n"])
        squares = ((embeddings - mean) ** 2).sum(axis=0)
        return {"n": len(evidence), "mean": mean * np.float32(len(evidence)), "squares": squares}

    def prepare(self, labelled: Labelled | None, sample: Evidence | None, summary: Summary | None) -> Any:
        if labelled is not None or sample is not None or summary is None:
            raise AssertionError("expected the summary alone")
        return summary["mean"] / summary["n"], np.sqrt(summary["squares"] / summary["n"]) + np.float32(1e-3)

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        mean, deviation = state
        return np.abs((embeddings_of(evidence) - mean) / deviation).sum(axis=1).astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class Spread(Strategy):
    """Of the 3 q items of smallest margin, q that lie far apart in the embeddings, the first of them first."""

    select_needs: ClassVar[frozenset[str]] = frozenset({"embeddings"})

    def n_shortlist(self, budget: int) -> int:
        return 3 * budget

    def score(self, evidence: Evidence, state: Any, rng: HashRng) -> Scores:
        top = np.sort(probabilities_of(evidence).astype(np.float64), axis=1)
        return np.asarray(top[:, -2] - top[:, -1])

    def select(self, shortlist: Scored, state: Any, budget: int) -> Scored:
        evidence = shortlist.evidence
        if evidence is None or evidence.ids.tolist() != shortlist.ids.tolist():
            raise AssertionError("expected evidence on the items of the shortlist, in their order")
        if evidence.rows.tolist() != shortlist.rows.tolist() or (np.diff(shortlist.scores) > 0).any():
            raise AssertionError("expected the best first")
        again = self.score(evidence, None, HashRng(0))
        if not np.allclose(again, shortlist.scores, atol=1e-5):  # another batch rounds otherwise
            raise AssertionError("expected each item's own evidence")
        embeddings = embeddings_of(evidence)
        chosen = [0]
        while len(chosen) < budget:
            distance = np.linalg.norm(embeddings[:, None] - embeddings[chosen][None], axis=2).min(axis=1)
            distance[chosen] = -1
            chosen.append(int(distance.argmax()))
        return shortlist.take(np.array(chosen))


@dataclass(frozen=True, kw_only=True)
class SpreadByScored(Spread):
    """The same with evidence that the scoring pass has looked at already."""

    needs: ClassVar[frozenset[str]] = frozenset({"embeddings"})
