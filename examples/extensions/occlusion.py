"""An explainer of tables: how much the class's probability drops when one column takes its mean value.

    phi_j(x) = p(x) - p(x with x_j = mean of the baselines)

In a recipe:   explainer: {name: "occlusion:Occlusion", background: 20}
From Python:   xal.Learner(X, explainer=Occlusion())
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

import xal
from xal.explainers.explainer import explained_classes, needed_baselines


@dataclass(frozen=True, kw_only=True)
class Occlusion(xal.Explainer):
    """Drop in probability where a column is replaced by its mean. Invariant: attributions are in [-1, 1]."""

    kinds: ClassVar[frozenset[str]] = frozenset({"features"})

    background: int = 20
    """Labelled items whose mean stands for a masked column."""

    @property
    def n_baselines(self) -> int:
        """`background`: the campaign then passes that many labelled items as `baselines`."""
        return self.background

    def explain(
        self, classifier: Any, inputs: Tensor, target: Tensor | None = None, baselines: Tensor | None = None
    ) -> xal.Explanations:
        """Of each item's columns, all in one batch of b * d masked items."""
        b, d = inputs.shape
        columns = torch.arange(d)
        masked = inputs[:, None, :].repeat(1, d, 1)  # (b, d, d): row j has column j masked
        masked[:, columns, columns] = needed_baselines(baselines, self.background).to(inputs).mean(dim=0)
        with torch.no_grad():
            probabilities = torch.as_tensor(classifier.probabilities(inputs)).double()
            left = torch.as_tensor(classifier.probabilities(masked.reshape(b * d, d))).double().reshape(b, d, -1)
        explained = explained_classes(probabilities, target)
        before = probabilities[torch.arange(b), explained]
        after = left[torch.arange(b), :, explained]  # (b, d)
        return xal.Explanations(
            feature_kind="columns",
            attributions=(before[:, None] - after).cpu().numpy(),
            interpretable_input=self.to_interpretable(inputs),
            explained_class=explained.cpu().numpy(),
            probability=before.cpu().numpy(),
        )
