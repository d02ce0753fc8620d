"""Compare a model's explanations with what the pool marks as relevant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from xal.core.rng import HashRng
from xal.data.label_space import LabelSpace
from xal.data.pool import Pool
from xal.engine.coordinator import Coordinator
from xal.evaluation.relevance import distance, f1, has_relevance, on_irrelevant, read_relevance, recall
from xal.explainers import Explainer
from xal.types import Explanations, Shape


@dataclass(frozen=True, eq=False, kw_only=True)
class ExplanationEvaluator:
    """Compares explanations with the relevance column of a pool."""

    pool: Pool
    shape: Shape
    label_space: LabelSpace
    k: int | Literal["gold"] | None  # components shown; None: all
    explainer: Explainer | None

    def metrics(
        self, rows: npt.NDArray[np.int64], ids: Sequence[str], shown: Mapping[str, Explanations]
    ) -> dict[str, float]:
        """Mean metrics over the explained items; {} if the pool has no relevance column or no item is explained.

        rows and ids: of the items, (n,) each; shown: explanations by id.

        explanation_recall: recall of the relevant components, at k = their number; on_irrelevant: share of the
        attribution on irrelevant components; explanation_f1: F1 of the k components shown, unless all are shown;
        explanation_loss: for self-explaining models, the squared distance of the weights to the relevance.
        """
        if not has_relevance(self.pool) or not any(item in shown for item in ids):
            return {}
        order = np.argsort(rows)
        labels = self.pool.read(rows[order], ["label"])["label"].to_pylist() if self.pool.has_labels else []
        self_explaining = self.explainer is not None and "self_explaining" in self.explainer.requires and labels
        values: dict[str, list[float]] = {}
        relevances = read_relevance(self.pool, rows[order], self.shape)
        for position, (relevance, index) in enumerate(zip(relevances, order, strict=True)):
            explanation = shown.get(ids[index])
            if explanation is None or explanation.feature_kind == "concepts":  # relevance is of parts of items
                continue
            scores = {
                "explanation_recall": recall(relevance, explanation),
                "on_irrelevant": on_irrelevant(relevance, explanation),
            }
            if self.k is not None:  # with all components shown, F1 says nothing of the explanation
                scores["explanation_f1"] = f1(relevance, explanation, self.k)
            if self_explaining and labels[position] in self.label_space:
                label = self.label_space.index[labels[position]]
                scores["explanation_loss"] = distance(relevance, explanation, label)
            for name, score in scores.items():
                values.setdefault(name, []).append(score)
        return {name: float(np.mean(scores)) for name, scores in values.items()}

    def sampled(self, coordinator: Coordinator, items: int) -> dict[str, float]:
        """`metrics` over a random sample of up to `items` of the pool, the same in every round and arm."""
        rows = np.sort(np.random.default_rng(HashRng(0).child("judged").integer).permutation(len(self.pool))[:items])
        evidence = coordinator.collect(rows, frozenset({"explanations"}), "evaluate explanations")
        if evidence is None or evidence.explanations is None:
            return {}
        ids = [str(item) for item in evidence.ids]
        shown = {item: evidence.explanations.item(i) for i, item in enumerate(ids)}
        return self.metrics(evidence.rows, ids, shown)
