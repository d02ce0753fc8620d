"""A simulated annotator: labels from the pool, corrections from what the pool says truly matters, and mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from xal.campaign.annotators import Annotator, Oracle, Request
from xal.campaign.truth import Truth, knows, shown_of, truths
from xal.data.payloads import payload_of
from xal.errors import LabelError
from xal.feedback import Feedback
from xal.types import Correction, Explanations, dense

Rate = Annotated[float, Field(ge=0, le=1)]
NEAR = 1e-6  # of an attribution to what it should be


@dataclass(frozen=True, kw_only=True)
class Simulated(Annotator, name="simulated"):
    """Answers from the pool's `label`, and from its `relevant` or `irrelevant`.

    Says which of the shown components do not matter; asked for what was missed, too (by cali_ranking), what the
    attribution of any component should be: 1 or -1 where it matters, 0 elsewhere.
    """

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
        labels = dict(Oracle().annotate(request))
        ids = np.array(list(labels), object)
        chance = request.chance.of("annotator")
        for item, draw, other in zip(ids, chance.uniform(ids), chance.of("other").uniform(ids), strict=True):
            if draw < self.wrong_labels:
                others = [name for name in request.classes if name != labels[item]]
                labels[item] = others[int(other * len(others))]
        return labels

    def correct(self, request: Request, labels: Mapping[str, str]) -> Mapping[str, Correction]:
        """Raises LabelError where the pool does not know what matters."""
        feedback = request.feedback
        if feedback is None:
            return {}
        if not knows(request.pool):
            raise LabelError(
                "annotator: to simulate corrections the pool must have a column `relevant` or `irrelevant`; use "
                "annotator: file"
            )
        items = sorted((item for item in request.items if item.id in labels), key=lambda item: item.row)
        rows = np.array([item.row for item in items], np.int64)
        kind = request.pool.kind
        payload, _ = payload_of(request.pool.read(rows, [kind])[kind], kind, request.shape)
        explained = request.explanations()
        ids = np.array([item.id for item in items], object)
        lost = request.chance.of("missing").uniform(ids) < self.missing
        corrections = {}
        for item, truth, gone in zip(items, truths(request.pool, rows, payload), lost.tolist(), strict=True):
            explanation = explained.get(item.id)
            right = item.prediction is None or item.prediction == labels[item.id]
            if gone or not (right or self.corrects == "always") or (explanation is None and feedback.shown):
                continue
            truth = truth.together(feedback.together)
            if "missed" in feedback.asks:
                found = self._signed(truth, explanation, feedback, request.classes.index(labels[item.id]))
            else:
                found = self._shown(truth, explanation, feedback, request, item.id)
            if found:
                corrections[item.id] = found
        return corrections

    def _shown(
        self, truth: Truth, explanation: Explanations | None, feedback: Feedback, request: Request, item: str
    ) -> Correction:
        """Which of the components shown do not matter."""
        if explanation is None and not truth.relevant and not self.noisy:
            return Correction(wrong=tuple(sorted(truth.components))[: feedback.most])
        shown = truth.all(None) if explanation is None else shown_of(truth, explanation, feedback.shown)
        matters = np.array(truth.of(explanation, shown), bool)
        if self.noisy and len(shown):
            draws = request.chance.of("noisy", item).uniform(np.array([str(each) for each in shown], object))
            matters ^= draws < self.noisy
        return Correction(wrong=_plain(np.array(shown, np.int64)[~matters][: feedback.most]))

    def _signed(self, truth: Truth, explanation: Explanations | None, feedback: Feedback, label: int) -> Correction:
        """What the attributions farthest from the truth should be; nothing where none were shown."""
        if explanation is None:
            return Correction()
        components = np.array(truth.all(explanation), np.int64)
        sign = 1.0 if int(explanation.explained_class[0]) == label else -1.0
        goals = np.where(truth.of(explanation, components.tolist()), sign, 0.0)
        distance = np.abs(dense(explanation.attributions)[0, components] - goals)
        if feedback.shown is not None:  # of others only what was missed can be said
            distance[(goals == 0) & ~np.isin(components, shown_of(truth, explanation, feedback.shown))] = 0
        chosen = np.argsort(-distance, kind="stable")[: feedback.most]
        chosen = chosen[distance[chosen] > NEAR]
        by_goal = {goal: _plain(components[chosen[goals[chosen] == goal]]) for goal in (0.0, 1.0, -1.0)}
        return Correction(wrong=by_goal[0.0], missed=by_goal[1.0], against=by_goal[-1.0])


def _plain(components: Sequence[int] | np.ndarray) -> tuple[int, ...]:
    return tuple(int(component) for component in components)
