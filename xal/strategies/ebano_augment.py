"""EBAnO-Augment (thesis 3.3.2): EBAnO-Uncertainty whose queried items also train with all but fmax blurred.

The copy of each of the first `augment_limit` (l_A) items of largest m(x) joins the round's training; how copies are
made is `xal.campaign.ebano_augment`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from xal.errors import XalError
from xal.strategies.ebano_uncertainty import EbanoUncertainty
from xal.strategies.strategy import Augmentation


@dataclass(frozen=True, kw_only=True)
class EbanoAugment(EbanoUncertainty, name="ebano_augment"):
    """EBAnO-Uncertainty whose queried items also train with all but their top feature blurred."""

    augment_limit: Annotated[int, Field(ge=1)] | None = None
    """l_A: at most so many copies a round, of the items of largest m(x); null: of all that m(x) chose."""
    explained: Literal["prediction", "label"] = "prediction"
    """Whose fmax is kept: of the class predicted at the query, or, explained anew after annotation, of the label."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.augment_limit is not None and self.limit is not None and self.augment_limit > self.limit:
            raise XalError(f"augment_limit: l_A = {self.augment_limit} is over limit, l_U = {self.limit}; lower it")

    @property
    def augmentation(self) -> Augmentation:
        """Copies of the items of largest m(x)."""
        return Augmentation(limit=self.augment_limit, explained=self.explained)
