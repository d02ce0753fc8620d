"""A simulated annotator: labels and corrections from the pool's own columns, with mistakes at given rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from xal.annotators.annotator import Annotator, Request
from xal.annotators.oracle import labels_of_pool, without_labels
from xal.data.pool import Pool
from xal.errors import LabelError
from xal.evaluation.relevance import Relevance, has_relevance, read_relevance, shown_of
from xal.feedback import Feedback
from xal.types import Correction, Explanations, dense

Rate = Annotated[float, Field(ge=0, le=1)]
WITHOUT_RELEVANCE = (
    "annotator: to simulate corrections the pool must have a column `relevant` or `irrelevant`; use annotator: file"
)
TOLERANCE = 1e-6  # an attribution this close to its target needs no correction


@dataclass(frozen=True, kw_only=True)
class Simulated(Annotator, name="simulated"):
    """Answers from the pool's `label` column, and corrects by its `relevant` or `irrelevant` column.

    It marks the irrelevant ones of the components shown. For a feedback that also learns from what was missed
    (cali_ranking) it corrects any component whose attribution is not its target: 1 or -1 for relevant ones, else 0.
    """

    simulated: ClassVar[bool] = True
    uses_relevance: ClassVar[bool] = True

    wrong_labels: Rate = 0.0
    """Share of labels that are replaced by another class."""
    missing: Rate = 0.0
    """Share of corrections that are left out."""
    noisy: Rate = 0.0
    """Share of shown components that are marked the wrong way round."""
    corrects: Literal["right", "always"] = "right"
    """right: correct explanations only where the prediction is right, as in CAIPI; always: correct all."""

    def annotate(self, request: Request) -> Mapping[str, str]:
        """The labels of the oracle, a share `wrong_labels` of them replaced by another class."""
        labels = labels_of_pool(request)
        ids = np.array(list(labels), object)
        rng = request.rng.child("annotator")
        for item, draw, other in zip(ids, rng.uniform(ids), rng.child("other").uniform(ids), strict=True):
            if draw < self.wrong_labels:
                others = [name for name in request.label_space.classes if name != labels[item]]
                labels[item] = others[int(other * len(others))]
        return labels

    def correct(self, request: Request, labels: Mapping[str, str]) -> Mapping[str, Correction]:
        """Corrections by id; LabelError if the pool has no relevance column."""
        feedback = request.feedback
        if feedback is None:
            return {}
        if not has_relevance(request.pool):
            raise LabelError(WITHOUT_RELEVANCE)
        items = sorted((item for item in request.items if item.id in labels), key=lambda item: item.row)
        rows = np.array([item.row for item in items], np.int64)
        explained = request.explanations()
        ids = np.array([item.id for item in items], object)
        missing = request.rng.child("missing").uniform(ids) < self.missing
        corrections = {}
        for item, relevance, skip in zip(
            items, read_relevance(request.pool, rows, request.shape), missing.tolist(), strict=True
        ):
            explanation = explained.get(item.id)
            right = item.prediction is None or item.prediction == labels[item.id]
            if skip or not (right or self.corrects == "always") or (explanation is None and feedback.shown):
                continue
            relevance = relevance.merge_onehot(feedback.onehot_width)
            if "missed" in feedback.correction_kinds:
                label = request.label_space.index[labels[item.id]]
                correction = self._correct_targets(relevance, explanation, feedback, label)
            else:
                correction = self._correct_shown(relevance, explanation, feedback, request, item.id)
            if correction:
                corrections[item.id] = correction
        return corrections

    def problems(self, pool: Pool, feedback: Feedback | None, *, explains_concepts: bool) -> list[str]:
        """Problems of a pool without labels, or for a feedback without a relevance column."""
        lines = without_labels(self.name, pool)
        if feedback is not None and not has_relevance(pool):
            lines.append(WITHOUT_RELEVANCE)
        elif feedback is not None and explains_concepts:
            lines.append("annotator: the pool marks relevant parts of items, not concepts; use phi: identity")
        return lines

    def _correct_shown(
        self, relevance: Relevance, explanation: Explanations | None, feedback: Feedback, request: Request, item: str
    ) -> Correction:
        """Mark the irrelevant ones of the components shown, or of all components if there is no explanation."""
        if explanation is None and not relevance.relevant and not self.noisy:
            return Correction(wrong=tuple(sorted(relevance.components))[: feedback.max_corrections])
        shown = relevance.all(None) if explanation is None else shown_of(relevance, explanation, feedback.shown)
        is_relevant = np.array(relevance.of(explanation, shown), bool)
        if self.noisy and len(shown):
            draws = request.rng.child("noisy", item).uniform(np.array([str(number) for number in shown], object))
            is_relevant ^= draws < self.noisy
        return Correction(wrong=_as_ints(np.array(shown, np.int64)[~is_relevant][: feedback.max_corrections]))

    def _correct_targets(
        self, relevance: Relevance, explanation: Explanations | None, feedback: Feedback, label: int
    ) -> Correction:
        """Give the targets of the attributions farthest from them; no correction without an explanation."""
        if explanation is None:
            return Correction()
        components = np.array(relevance.all(explanation), np.int64)
        sign = 1.0 if int(explanation.explained_class[0]) == label else -1.0
        targets = np.where(relevance.of(explanation, components.tolist()), sign, 0.0)
        distance = np.abs(dense(explanation.attributions)[0, components] - targets)
        if feedback.shown is not None:  # only components shown can be marked wrong
            distance[(targets == 0) & ~np.isin(components, shown_of(relevance, explanation, feedback.shown))] = 0
        chosen = np.argsort(-distance, kind="stable")[: feedback.max_corrections]
        chosen = chosen[distance[chosen] > TOLERANCE]
        by_target = {target: _as_ints(components[chosen[targets[chosen] == target]]) for target in (0.0, 1.0, -1.0)}
        return Correction(wrong=by_target[0.0], missed=by_target[1.0], against=by_target[-1.0])


def _as_ints(components: Sequence[int] | np.ndarray) -> tuple[int, ...]:
    return tuple(int(component) for component in components)
