"""EBAnO-Uncertainty and EBAnO-Augment (thesis 3.3.2): query what an influential but imprecise feature explains.

    m(x) = nPIR_fmax(x) - nPIRP_fmax(x),   fmax = argmax_f nPIR_f of the best explanation, m in [-2, 2]

On `candidates` (kappa) pool items, random or chosen by the strategy `preselect` (which the thesis leaves to future
work): keep m > `threshold` (eta), the largest first, at most `limit` (l_U); the
rest of the batch is filled by highest entropy over the whole pool, without repeats. EBAnO-Augment queries the same
items; of the first `augment_limit` (l_A) of them a copy with all but fmax blurred joins the round's training.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from xal.chance import Chance
from xal.errors import XalError
from xal.strategies.strategy import Augmentation, Scores, Strategy
from xal.types import Evidence, Scored


def _entropy() -> Strategy:
    strategy: Strategy = Strategy.named("entropy")()
    return strategy


@dataclass(frozen=True, kw_only=True)
class EbanoUncertainty(Strategy, name="ebano_uncertainty"):
    """Query by m(x) on a random subset, then fill by entropy."""

    needs: ClassVar[frozenset[str]] = frozenset({"explanations"})
    spaces: ClassVar[frozenset[str]] = frozenset({"ebano"})

    candidates: Annotated[int, Field(ge=1)] | None = 2000
    """kappa, the number of pool items explained a round; null: all."""
    preselect: Strategy | None = None
    """The strategy that chooses those items, such as entropy or diverse; null: a random subset, as in the thesis."""
    threshold: Annotated[float, Field(ge=-2, le=2)] = 0.5
    """eta: items with m(x) at or below it are not queried."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """l_U: at most so many items a round by m(x); null: the whole batch."""
    fill: Strategy = field(default_factory=_entropy)
    """The strategy that fills the batch."""

    def __post_init__(self) -> None:
        for name, strategy in (("fill", self.fill), ("preselect", self.preselect)):
            if strategy is not None and type(strategy).at is not Strategy.at:
                raise XalError(f"{name}: '{strategy.name}' is a schedule; schedule ebano_uncertainty itself instead")
        if self.preselect is not None and self.candidates is None:
            raise XalError("preselect: with candidates: null all items are explained; give their number")
        if self.preselect is not None and "explanations" in self.preselect.needs:
            raise XalError(f"preselect: '{self.preselect.name}' would explain the whole pool; name a cheaper strategy")

    def survivors(self, budget: int) -> int | None:
        """kappa."""
        return self.candidates

    def preselection(self) -> Strategy | None:
        """As configured."""
        return self.preselect

    def shortlist(self, budget: int) -> int:
        """l_U, or the budget where that is smaller."""
        return budget if self.limit is None else min(budget, self.limit)

    def filler(self) -> Strategy:
        """Entropy, unless the recipe says otherwise."""
        return self.fill

    def prefilter(self, evidence: Evidence, chance: Chance) -> Scores:
        """(b,) uniform draws: the subset is random."""
        return chance.uniform(evidence.ids)

    def score(self, evidence: Evidence, state: Any, chance: Chance) -> Scores:
        """(b,) m(x)."""
        explanations = evidence.explanations
        if explanations is None:
            raise XalError("ebano_uncertainty needs explanations; give the recipe an explainer")
        each = np.arange(len(explanations))
        strongest = explanations.strongest
        scores: Scores = explanations.npir[each, strongest] - explanations.npirp[each, strongest]
        return scores

    def select(self, scored: Scored, budget: int) -> Scored:
        """The items above the threshold, at most l_U."""
        return scored.take(scored.scores > self.threshold).top(self.shortlist(budget))


@dataclass(frozen=True, kw_only=True)
class EbanoAugment(EbanoUncertainty, name="ebano_augment"):
    """EBAnO-Uncertainty whose queried items also train with all but their strongest feature blurred."""

    augment_limit: Annotated[int, Field(ge=1)] | None = None
    """l_A: at most so many copies a round, of the items of largest m(x); null: of all that m(x) chose."""
    explained: Literal["prediction", "label"] = "prediction"
    """Whose fmax is kept: of the class predicted at the query, or, explained anew after annotation, of the label."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.augment_limit is not None and self.limit is not None and self.augment_limit > self.limit:
            raise XalError(f"augment_limit: l_A = {self.augment_limit} is over limit, l_U = {self.limit}; lower it")

    def augmentation(self) -> Augmentation:
        """Copies of the items of largest m(x)."""
        return Augmentation(limit=self.augment_limit, explained=self.explained)
