"""Gradients along the path from a baseline to the item: integrated gradients (captum's) and GradientSHAP.

    phi_j = (x_j - x'_j) * mean over a of dF(x' + a (x - x')) / dx_j

integrated_gradients takes a from a Gauss-Legendre rule and x' = 0 (a black image, or a row of zeros). It is complete,
sum_j phi_j = F(x) - F(x'), up to the error of that rule. gradient_shap (expected gradients; Lundberg & Lee 2017, Erion
et al. 2021) takes labelled items as x' and draws one a in [0, 1) for each sample. Departure: captum draws separately
for every row of a batch; here all items share the draws, so that an explanation does not depend on the other items of
its batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from xal.core._typing import Field, Integer
from xal.core.extras import require
from xal.errors import NumericalError, XalError
from xal.explainers.explainer import Explainer, Inputs, check_provided, explained_classes, needed_baselines
from xal.types import Explanations, Output


@dataclass(frozen=True, kw_only=True)
class Gradients(Explainer):
    """Base class. Attributes outputs to pixels (summed over channels) or columns."""

    kinds: ClassVar[frozenset[str]] = frozenset({"image", "features"})
    requires: ClassVar[frozenset[str]] = frozenset({"gradients"})

    output: Output = "margin"
    """The output to explain: the class's margin (logit), or its probability."""

    def explain(
        self,
        classifier: Any,
        inputs: Inputs,
        target: Integer[Tensor, " b"] | None = None,
        baselines: Tensor | None = None,
    ) -> Explanations:
        """Attribute each item's output to its pixels or columns. Raises XalError for texts."""
        if not isinstance(inputs, Tensor):
            raise XalError(f"explainer '{self.name}' needs gradients, and texts have none; use shap_partition")
        check_provided(self.name, classifier, "gradients")
        with torch.no_grad():
            probabilities = classifier.probabilities(inputs)
        explained = explained_classes(probabilities, target)
        with torch.inference_mode(False), torch.enable_grad():
            x = inputs.clone().to(torch.promote_types(inputs.dtype, torch.float32)).contiguous()
            values, base, output = self._attribute(_function(classifier, self.output), x, explained.clone(), baselines)
        if not torch.isfinite(values).all():
            raise NumericalError("the network's gradients are not finite; check its weights")
        image = values.ndim == 4
        flat = (values.sum(dim=1) if image else values).flatten(1).double().cpu().numpy()
        segments = None
        if image:
            h, w = values.shape[2:]
            segments = np.broadcast_to(np.arange(h * w, dtype=np.int32).reshape(h, w), (len(flat), h, w)).copy()
        return Explanations(
            feature_kind="pixels" if image else "columns",
            attributions=flat,
            interpretable_input=self.to_interpretable(inputs),
            explained_class=explained.cpu().numpy(),
            probability=probabilities.gather(1, explained[:, None])[:, 0].double().cpu().numpy(),
            base=base.double().cpu().numpy(),
            output=output.double().cpu().numpy(),
            segments=segments,
        )

    def _attribute(
        self, function: Callable[[Tensor], Tensor], x: Tensor, classes: Tensor, baselines: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return attributions of the shape of x, (b,) outputs of the baseline, and (b,) outputs of x."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(Gradients, name="integrated_gradients"):
    """Integrated gradients from zeros. Invariant: base + attributions = output, within 1e-3 of the largest output."""

    tolerance: ClassVar[float | None] = 1e-3

    steps: Annotated[int, Field(ge=2)] = 64
    """Points of the Gauss-Legendre rule."""

    def _attribute(
        self, function: Callable[[Tensor], Tensor], x: Tensor, classes: Tensor, baselines: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        attr = require("captum.attr", "captum", "explainer 'integrated_gradients'")

        rule = attr.IntegratedGradients(function)
        size = max(len(x), 256)
        values = rule.attribute(x, torch.zeros_like(x), target=classes, n_steps=self.steps, internal_batch_size=size)
        with torch.no_grad():
            base, output = (function(point).gather(1, classes[:, None])[:, 0] for point in (torch.zeros_like(x), x))
        return values.detach(), base, output


@dataclass(frozen=True, kw_only=True)
class GradientShap(Gradients, name="gradient_shap"):
    """GradientSHAP from labelled items. Invariant: finite; complete only in the mean over many samples."""

    samples: Annotated[int, Field(ge=1)] = 20
    """Points on the paths from the background to the item."""
    background: Annotated[int, Field(ge=1)] = 1
    """Labelled items that are drawn as baselines each round; ALEX uses one."""
    seed: int = 0
    """Of the samples."""

    @property
    def n_baselines(self) -> int:
        """The setting `background`."""
        return self.background

    def _attribute(
        self, function: Callable[[Tensor], Tensor], x: Tensor, classes: Tensor, baselines: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        background = needed_baselines(baselines, self.background).clone().to(x)
        draws = np.random.default_rng(self.seed).random(self.samples)
        values, base = torch.zeros_like(x), torch.zeros(len(x), dtype=x.dtype, device=x.device)
        for number, a in enumerate(draws.tolist()):
            start = background[number % len(background)][None]
            point = (start + a * (x - start)).requires_grad_()
            explained = function(point).gather(1, classes[:, None]).sum()
            values += torch.autograd.grad(explained, point)[0] * (x - start)
        with torch.no_grad():
            for start in background:
                base += function(start[None])[0, classes] / len(background)
            output = function(x).gather(1, classes[:, None])[:, 0]
        return values / self.samples, base, output


def _function(classifier: Any, output: Output) -> Callable[[Tensor], Tensor]:
    """The function inputs -> (b, c) outputs, with gradients."""

    def outputs_of(x: Tensor) -> Tensor:
        outputs: Tensor = classifier.outputs(x, output)
        return outputs

    return outputs_of
