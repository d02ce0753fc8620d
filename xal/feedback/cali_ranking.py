"""CALI's ranking loss (Calimocho; Popordanoska, Kumar, Teso 2020): a self-explaining network learns to rank the
corrected explanation z above z_hat, the explanation that it showed.

    loss = lambda l_Y + (1 - lambda) l_Z + alpha Omega,    l_Z = <w(x), z_hat - z>

w(x) are the weights that explain the class that was shown, l_Y the cross-entropy in nats, and alpha Omega the network's
regulariser (see `senn`). z is z_hat with the corrected components set to 0 (wrong), +1 (missed) or -1 (against). Items
without a correction add nothing to l_Z. l_Z is linear in w and has a minimum only because `senn` bounds w.

variant: squared is the loss of the authors' released code: the squared distance of w to z on the corrected components.
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
    """A loss that ranks corrected explanations above the shown ones."""

    kinds: ClassVar[Kinds] = frozenset({"image", "features"})
    requires: ClassVar[frozenset[str]] = frozenset({"self_explaining"})
    correction_kinds: ClassVar[tuple[str, ...]] = ("wrong", "missed", "against")
    has_loss: ClassVar[bool] = True
    needs_unflipped: ClassVar[bool] = True
    default_explainer: ClassVar[Any] = "self_explaining"

    label_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """lambda, the weight of the label loss; the loss of the corrections has weight 1 - lambda."""
    variant: Literal["ranking", "squared"] = "ranking"
    """ranking: the loss of the paper; squared: the loss of the released code."""

    def problems(self, explainer: Explainer | None, *, explains_concepts: bool) -> list[str]:
        """Also a problem: an explainer other than the model's own."""
        lines = super().problems(explainer, explains_concepts=explains_concepts)
        if explainer is not None and "self_explaining" not in explainer.requires:
            lines.append(f"explainer: '{self.name}' corrects the model's own explanations; use self_explaining")
        return lines

    def forward(self, module: Any, inputs: Tensor, correction_targets: Any) -> tuple[Tensor, Tensor]:
        """(logits (b, c), l_Z averaged over the batch)."""
        logits, weights = module(inputs, explained=True)
        corrected = correction_targets.corrected  # (b,) bool
        if not corrected.any():
            return logits, logits.new_zeros(())
        w = weights[torch.arange(len(inputs), device=inputs.device), correction_targets.explained][corrected]
        excess, target, corrected_features = (
            correction_targets.excess[corrected],
            correction_targets.target[corrected],
            correction_targets.corrected_features[corrected],
        )
        if self.variant == "ranking":
            return logits, (w * excess).sum() / len(inputs)
        return logits, ((w - target).square() * corrected_features).sum() / len(inputs)

    def combine(self, label_loss: Tensor, penalty: Tensor) -> Tensor:
        """lambda l_Y + (1 - lambda) l_Z."""
        return self.label_share * label_loss + (1 - self.label_share) * penalty
