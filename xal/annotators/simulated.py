"""A simulated annotator: labels from the pool, corrections from what the pool says truly matters, and mistakes."""

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
NEAR = 1e-6  # of an attribution to what it should be


@dataclass(frozen=True, kw_only=True)
class Simulated(Annotator, name="simulated"):
    """Answers from the pool's `label`, and from its `relevant` or `irrelevant`.

    Says which of the shown components do not matter; asked for what was missed, too (by cali_ranking), what the
    attribution of any component should be: 1 or -1 where it matters, 0 elsewhere.
    """

    simulated: ClassVar[bool] = True
    knows_relevance: ClassVar[bool] = True

    wrong_labels: Rate = 0.0
    """Share of labels that are another class's."""
    missing: Rate = 0.0
    """Share of corrections that are not given."""
    noisy: Rate = 0.0
    """Share of components judged the wrong way round."""
    corrects: Literal["right", "always"] = "right"
    """Explanations of right predictions alone, as CAIPI has it, or all."""

    def annotate(self, request: Request) -> Mapping[str, str]:
        """As the oracle, but for wrong labels."""
        labels = labels_of_pool(request)
        ids = np.array(list(labels), object)
        rng = request.rng.child("annotator")
        for item, draw, other in zip(ids, rng.uniform(ids), rng.child("other").uniform(ids), strict=True):
            if draw < self.wrong_labels:
                others = [name for name in request.label_space.classes if name != labels[item]]
                labels[item] = others[int(other * len(others))]
        return labels

    def correct(self, request: Request, labels: Mapping[str, str]) -> Mapping[str, Correction]:
        """Raises LabelError where the pool does not know what matters."""
        feedback = request.feedback
        if feedback is None:
            return {}
        if not has_relevance(request.pool):
            raise LabelError(WITHOUT_RELEVANCE)
        items = sorted((item for item in request.items if item.id in labels), key=lambda item: item.row)
        rows = np.array([item.row for item in items], np.int64)
        explained = request.explanations()
        ids = np.array([item.id for item in items], object)
        lost = request.rng.child("missing").uniform(ids) < self.missing
        corrections = {}
        for item, relevance, gone in zip(
            items, read_relevance(request.pool, rows, request.shape), lost.tolist(), strict=True
        ):
            explanation = explained.get(item.id)
            right = item.prediction is None or item.prediction == labels[item.id]
            if gone or not (right or self.corrects == "always") or (explanation is None and feedback.shown):
                continue
            relevance = relevance.merge_onehot(feedback.onehot_width)
            if "missed" in feedback.correction_kinds:
                found = self._signed(relevance, explanation, feedback, request.label_space.index[labels[item.id]])
            else:
                found = self._shown(relevance, explanation, feedback, request, item.id)
            if found:
                corrections[item.id] = found
        return corrections

    def problems(self, pool: Pool, feedback: Feedback | None, *, explains_concepts: bool) -> list[str]:
        """It needs labels and, to correct, a pool that says which parts are relevant."""
        lines = without_labels(self.name, pool)
        if feedback is not None and not has_relevance(pool):
            lines.append(WITHOUT_RELEVANCE)
        elif feedback is not None and explains_concepts:
            lines.append(
                "annotator: the pool knows which parts of items matter, not which concepts; take phi: identity"
            )
        return lines

    def _shown(
        self, relevance: Relevance, explanation: Explanations | None, feedback: Feedback, request: Request, item: str
    ) -> Correction:
        """Which of the components shown do not matter."""
        if explanation is None and not relevance.relevant and not self.noisy:
            return Correction(wrong=tuple(sorted(relevance.components))[: feedback.max_corrections])
        shown = relevance.all(None) if explanation is None else shown_of(relevance, explanation, feedback.shown)
        matters = np.array(relevance.of(explanation, shown), bool)
        if self.noisy and len(shown):
            draws = request.rng.child("noisy", item).uniform(np.array([str(each) for each in shown], object))
            matters ^= draws < self.noisy
        return Correction(wrong=_plain(np.array(shown, np.int64)[~matters][: feedback.max_corrections]))

    def _signed(
        self, relevance: Relevance, explanation: Explanations | None, feedback: Feedback, label: int
    ) -> Correction:
        """What the attributions farthest from the truth should be; nothing where none were shown."""
        if explanation is None:
            return Correction()
        components = np.array(relevance.all(explanation), np.int64)
        sign = 1.0 if int(explanation.explained_class[0]) == label else -1.0
        goals = np.where(relevance.of(explanation, components.tolist()), sign, 0.0)
        distance = np.abs(dense(explanation.attributions)[0, components] - goals)
        if feedback.shown is not None:  # of others only what was missed can be said
            distance[(goals == 0) & ~np.isin(components, shown_of(relevance, explanation, feedback.shown))] = 0
        chosen = np.argsort(-distance, kind="stable")[: feedback.max_corrections]
        chosen = chosen[distance[chosen] > NEAR]
        by_goal = {goal: _plain(components[chosen[goals[chosen] == goal]]) for goal in (0.0, 1.0, -1.0)}
        return Correction(wrong=by_goal[0.0], missed=by_goal[1.0], against=by_goal[-1.0])


def _plain(components: Sequence[int] | np.ndarray) -> tuple[int, ...]:
    return tuple(int(component) for component in components)
