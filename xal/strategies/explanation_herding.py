"""Explanation herding: uncertainty herding among explanations in place of embeddings.

By default an item's explanation is contrastive: what each dimension of its embedding contributes to the margin between
the two most likely classes, (w_first - w_second) * (x - mean) for a linear head. So items are alike if the model
hesitates between the same classes for the same reasons. Explanations by the campaign's explainer can take their place,
and embeddings can stand beside them.

Ours; the papers' strategies on explanations neither cover nor weigh by uncertainty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from xal.core.projection import narrowed
from xal.strategies.joint import Vectors, unit
from xal.strategies.strategy import contrastive_of, embeddings_of
from xal.strategies.uncertainty_herding import UncertaintyHerding
from xal.types import Evidence


@dataclass(frozen=True, kw_only=True)
class ExplanationHerding(UncertaintyHerding, name="explanation_herding"):
    """Query items whose explanations resemble those of many uncertain items, and none that is labelled."""

    spaces: ClassVar[frozenset[str]] = frozenset({"shared"})
    motive: ClassVar[str] = "many uncertain items are explained like it"

    explanations: Literal["contrastive", "explainer"] = "contrastive"
    """contrastive: in closed form, for models that end with a linear layer; explainer: by the campaign's explainer,
    which explains every candidate, so keep `sample` small."""
    with_embeddings: bool = False
    """Compare items by explanation and embedding, side by side with equal weight."""

    @property
    def prepare_needs(self) -> frozenset[str]:  # type: ignore[override]
        """The explanations, and embeddings if they count too."""
        explained = "contrastive" if self.explanations == "contrastive" else "explanations"
        return frozenset({explained, "embeddings"} if self.with_embeddings else {explained})

    @property
    def select_needs(self) -> frozenset[str]:  # type: ignore[override]
        """As `prepare_needs`, with probabilities."""
        return self.prepare_needs | {"probabilities"}

    def vectors(self, evidence: Evidence) -> Vectors:
        """(b, d) explanations of length 1, with embeddings side by side if these count too."""
        if self.explanations == "contrastive":
            explained: Any = contrastive_of(evidence)
        elif evidence.explanations is not None:
            explained = narrowed(evidence.explanations.vectors)
        else:
            raise TypeError("this evidence holds no explanations")
        if not self.with_embeddings:
            return unit(explained)
        return unit(np.concatenate([unit(explained), unit(embeddings_of(evidence))], axis=1))
