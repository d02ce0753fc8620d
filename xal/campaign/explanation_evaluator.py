"""Explanations of a model held against what the pool says matters."""

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
    """Holds explanations against what a pool says matters."""

    pool: Pool
    shape: Shape
    label_space: LabelSpace
    k: int | Literal["gold"] | None  # components shown
    explainer: Explainer | None

    def metrics(
        self, rows: npt.NDArray[np.int64], ids: Sequence[str], shown: Mapping[str, Explanations]
    ) -> dict[str, float]:
        """Means over the items that are explained; {} where the pool does not know what matters.

        explanation_f1: of the k components shown, unless all are; explanation_recall: at k = how many matter;
        on_irrelevant: share of the attribution that lies elsewhere; explanation_loss: of weights that explain
        themselves, the squared distance to the truth.
        """
        if not has_relevance(self.pool) or not any(item in shown for item in ids):
            return {}
        order = np.argsort(rows)
        labels = self.pool.read(rows[order], ["label"])["label"].to_pylist() if self.pool.has_labels else []
        exact = self.explainer is not None and "self_explaining" in self.explainer.requires and labels
        found: dict[str, list[float]] = {}
        relevances = read_relevance(self.pool, rows[order], self.shape)
        for number, (relevance, place) in enumerate(zip(relevances, order, strict=True)):
            explanation = shown.get(ids[place])
            if (
                explanation is None or explanation.feature_kind == "concepts"
            ):  # of concepts nobody knows whether they matter
                continue
            each = {
                "explanation_recall": recall(relevance, explanation),
                "on_irrelevant": on_irrelevant(relevance, explanation),
            }
            if self.k is not None:  # of all components it says nothing
                each["explanation_f1"] = f1(relevance, explanation, self.k)
            if exact and labels[number] in self.label_space:
                each["explanation_loss"] = distance(relevance, explanation, self.label_space.index[labels[number]])
            for name, value in each.items():
                found.setdefault(name, []).append(value)
        return {name: float(np.mean(values)) for name, values in found.items()}

    def sampled(self, coordinator: Coordinator, items: int) -> dict[str, float]:
        """The same of at most `items` of the pool, drawn at random, the same in every round and arm."""
        rows = np.sort(np.random.default_rng(HashRng(0).child("judged").integer).permutation(len(self.pool))[:items])
        evidence = coordinator.collect(rows, frozenset({"explanations"}), "evaluate explanations")
        if evidence is None or evidence.explanations is None:
            return {}
        ids = [str(item) for item in evidence.ids]
        shown = {item: evidence.explanations.take(slice(place, place + 1)) for place, item in enumerate(ids)}
        return self.metrics(evidence.rows, ids, shown)
