"""EBAnO-Augment (thesis 3.3.2): EBAnO-Uncertainty plus training on copies of queried items with all but fmax blurred.

Copies of the `augment_limit` (l_A) queried items with the largest m(x) are added to the round's training data.
`xal.campaign.ebano_augment` makes the copies.
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
    """EBAnO-Uncertainty that also trains on copies of queried items with all but the top feature blurred."""

    augment_limit: Annotated[int, Field(ge=1)] | None = None
    """l_A: maximum number of copies in a round, of the items with the largest m(x); null: of all chosen by m(x)."""
    explained: Literal["prediction", "label"] = "prediction"
    """Class whose fmax stays visible: the class predicted at the query, or the label, explained after annotation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.augment_limit is not None and self.limit is not None and self.augment_limit > self.limit:
            raise XalError(
                f"augment_limit: l_A = {self.augment_limit} is over limit, l_U = {self.limit}; lower augment_limit"
            )

    @property
    def augmentation(self) -> Augmentation:
        """Copies of the items with the largest m(x)."""
        return Augmentation(limit=self.augment_limit, explained=self.explained)
