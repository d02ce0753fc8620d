"""CALI's ranking loss (Calimocho; Popordanoska, Kumar, Teso 2020): a self-explaining network prefers the corrected
explanation z to the one that it showed, z_hat.

    loss = lambda l_Y + (1 - lambda) l_Z + alpha Omega,    l_Z = <w(x), z_hat - z>

w(x) are the weights that explain the class that was shown, l_Y the cross-entropy in nats, alpha Omega the network's own
regulariser (`senn`). z is z_hat with the corrected components set to 0 (wrong), +1 (missed) or -1 (against). Items
without a correction add no l_Z. l_Z is linear in w, so w must be bounded for it to have a minimum, as `senn` has it.

variant: squared is what the authors' released code computes in its place, the squared distance of w to z on the
corrected components.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from xal.core._typing import Field
from xal.explainers.explainer import Explainer
from xal.feedback.feedback import Feedback, Kinds


@dataclass(frozen=True, kw_only=True)
class CaliRanking(Feedback, name="cali_ranking"):
    """Rank corrected explanations above shown ones."""

    kinds: ClassVar[Kinds] = frozenset({"image", "features"})
    requires: ClassVar[frozenset[str]] = frozenset({"self_explaining"})
    correction_kinds: ClassVar[tuple[str, ...]] = ("wrong", "missed", "against")
    has_loss: ClassVar[bool] = True
    needs_unflipped: ClassVar[bool] = True
    default_explainer: ClassVar[Any] = "self_explaining"

    label_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """lambda: the weight of the labels, 1 - lambda that of corrections."""
    variant: Literal["ranking", "squared"] = "ranking"
    """The paper's loss, or the released code's."""

    def problems(self, explainer: Explainer | None, *, explains_concepts: bool) -> list[str]:
        """It corrects what the model says of itself."""
        lines = super().problems(explainer, explains_concepts=explains_concepts)
        if explainer is not None and "self_explaining" not in explainer.requires:
            lines.append(f"explainer: '{self.name}' corrects what the model says itself; take self_explaining")
        return lines

    def forward(self, module: Any, inputs: Tensor, correction_targets: Any) -> tuple[Tensor, Tensor]:
        """Logits, and l_Z of a batch."""
        logits, weights = module(inputs, explained=True)
        some = correction_targets.corrected
        if not some.any():
            return logits, logits.new_zeros(())
        w = weights[torch.arange(len(inputs), device=inputs.device), correction_targets.explained][some]
        push, target, said = (
            correction_targets.push[some],
            correction_targets.target[some],
            correction_targets.said[some],
        )
        if self.variant == "ranking":
            return logits, (w * push).sum() / len(inputs)
        return logits, ((w - target).square() * said).sum() / len(inputs)

    def combine(self, label_loss: Tensor, penalty: Tensor) -> Tensor:
        """lambda l_Y + (1 - lambda) l_Z."""
        return self.label_share * label_loss + (1 - self.label_share) * penalty
