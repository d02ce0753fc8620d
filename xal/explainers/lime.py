"""LIME: a weighted linear model of the network around an item, fitted to its outputs on random coalitions of its
features: words, superpixels or patches, columns.

For item x with m features, `samples` coalitions z in {0, 1}^m, the first of them the whole item: texts and tables
keep a uniform number of features, 1 to m of them taken away (as the `lime` package samples words); images keep
each part with probability 1/2. Weights are pi = sqrt(exp(-D^2 / width^2)), D the cosine distance of z from all ones
(times 100 for texts, as the package has it). The attributions are the coefficients of a ridge regression with penalty
`alpha` and an intercept, solved in closed form, all items of a batch at once and all coalitions in one go through the
network. With `keep`, as in CAIPI, each of the repeated fits votes for its k largest coefficients, and the others than
the k most often chosen become 0.

M. T. Ribeiro et al. 2016; the `lime` package 0.2. Departures: tables take features away by putting in labelled items',
where the package draws from a normal distribution; no feature selection. Superpixels are by SLICO, where the package's
are by quickshift, and are replaced as `absent` says, `mean` as the package has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from torch import Tensor

from xal.core._typing import Field, Integer
from xal.errors import NumericalError
from xal.explainers.explainer import Inputs, explained_classes, outputs_function
from xal.explainers.masking import Items, MaskedImages, MaskedTexts, Masks, MaskValue, Values, finite, runs
from xal.explainers.perturbation_explainer import PerturbationExplainer
from xal.types import Explanations


@dataclass(frozen=True, kw_only=True)
class Lime(PerturbationExplainer, name="lime"):
    """LIME of words, superpixels or patches, columns. Invariant: finite; coefficients need not sum to anything."""

    samples: Annotated[int, Field(ge=2)] = 1000
    """Coalitions an item."""
    width: Annotated[float, Field(gt=0)] | None = None
    """Of the kernel; null: 25 for texts, 0.25 for images, 0.75 sqrt(m) for tables, as the package has them."""
    alpha: Annotated[float, Field(ge=0)] = 1.0
    """Ridge penalty."""
    repeats: Annotated[int, Field(ge=1)] = 1
    """Fits whose coefficients are averaged, each on coalitions of its own: steadier explanations."""
    keep: Annotated[int, Field(ge=1)] | None = None
    """k: components that are kept, those most often among the k largest of a fit; null: all."""
    mask_value: MaskValue = "grey"
    seed: int = 0

    def explain(
        self,
        classifier: Any,
        inputs: Inputs,
        target: Integer[Tensor, " b"] | None = None,
        baselines: Tensor | None = None,
    ) -> Explanations:
        """Of each item's words, parts or columns."""
        masked = self.masked(classifier, inputs, baselines)
        probabilities = outputs_function(classifier, "probability")(inputs)
        explained = explained_classes(probabilities, target).cpu().numpy()
        widest = int(masked.players.max(initial=1))
        values, base, output = np.zeros((len(explained), widest)), np.zeros(len(explained)), np.zeros(len(explained))
        votes = np.zeros_like(values)
        order = np.argsort(masked.players, kind="stable")
        for items in runs(masked, order, np.full(len(order), self.samples)):
            for repeat in range(self.repeats):
                masks = self._masks(masked.players[items], isinstance(masked, MaskedImages), repeat)
                n, s, m = masks.shape
                value = finite(masked.value(items.repeat(s), masks.reshape(n * s, m)))
                y = value[np.arange(n * s), explained[items].repeat(s)].reshape(n, s)
                found, intercept = ridge(masks, y, self._weights(masks, masked), masked.players[items], self.alpha)
                values[items, :m] += found / self.repeats
                votes[items, :m] += _largest(np.abs(found), self.keep)
                base[items] += intercept / self.repeats
                output[items] = y[:, 0]
        if self.keep is not None:  # ties by the mean coefficient
            sizes = np.abs(values)
            values = np.where(_largest(votes + sizes / (2 * sizes.max(initial=1e-300)), self.keep), values, 0.0)
        return Explanations(
            explained_class=explained,
            probability=probabilities.cpu().numpy()[np.arange(len(explained)), explained].astype(np.float64),
            base=base,
            output=output,
            **masked.attributed(values),
        )

    def _masks(self, players: Items, image: bool, repeat: int) -> Masks:
        """(n, samples, m): the draws of an item depend on its number of players alone, never on its company."""
        drawn = {
            int(m): coalitions(int(m), self.samples, np.random.default_rng([self.seed, repeat, int(m)]), image)
            for m in np.unique(players)
        }
        masks = np.zeros((len(players), self.samples, max(int(players.max()), 1)), bool)
        for m, each in drawn.items():
            masks[players == m, :, :m] = each
        return masks

    def _weights(self, masks: Masks, masked: Any) -> Values:
        """(n, samples) pi."""
        kept = masks.sum(axis=2)
        m = np.maximum(kept[:, :1], 1)  # the first coalition is the whole item
        distance = 1 - np.sqrt(kept / m)  # the cosine of z and all ones is sqrt(|z| / m)
        if isinstance(masked, MaskedTexts):
            distance, width = 100 * distance, 25.0
        else:
            width = 0.25 if isinstance(masked, MaskedImages) else 0.75 * float(np.sqrt(m.max()))
        return np.asarray(np.sqrt(np.exp(-(distance**2) / (self.width or width) ** 2)))


def _largest(sizes: Values, k: int | None) -> Masks:
    """(n, m) whether among the k largest of its row, the first where tied; all where k is None."""
    if k is None or k >= sizes.shape[1]:
        return np.ones(sizes.shape, bool)
    chosen = np.argsort(-sizes, axis=1, kind="stable")[:, :k]
    mask = np.zeros(sizes.shape, bool)
    np.put_along_axis(mask, chosen, True, axis=1)
    return mask


def coalitions(m: int, samples: int, generator: np.random.Generator, image: bool) -> Masks:
    """(samples, m), the first of all players."""
    if image:
        masks = generator.random((samples, m)) < 0.5
    else:
        away = generator.integers(1, max(m, 1) + 1, samples)  # players taken away
        ranks = generator.random((samples, m)).argsort(axis=1).argsort(axis=1)
        masks = ranks >= away[:, None]
    masks[0] = True
    return masks


def ridge(masks: Masks, y: Values, weights: Values, players: Items, alpha: float) -> tuple[Values, Values]:
    """((n, m) coefficients, (n,) intercepts) of weighted ridge regressions, intercepts without penalty; 0 beyond m."""
    z = masks.astype(np.float64)
    total = weights.sum(axis=1)
    z_mean = np.einsum("ns,nsm->nm", weights, z) / total[:, None]
    y_mean = np.einsum("ns,ns->n", weights, y) / total
    z -= z_mean[:, None]
    if alpha > 0 and z.shape[1] < z.shape[2]:  # fewer coalitions than players: the same by a system of their size
        root = np.sqrt(weights)
        z *= root[:, :, None]
        gram = z @ z.transpose(0, 2, 1) + alpha * np.eye(z.shape[1])
        dual = np.linalg.solve(gram, (root * (y - y_mean[:, None]))[:, :, None])
        found = (z.transpose(0, 2, 1) @ dual)[:, :, 0]
        return found, y_mean - np.einsum("nm,nm->n", z_mean, found)
    weighted = z * weights[:, :, None]
    gram = weighted.transpose(0, 2, 1) @ z
    m = np.arange(z.shape[2])
    gram[:, m, m] += np.where(m < players[:, None], alpha, 1.0)  # 1: nothing is known, and 0 comes of it
    right = weighted.transpose(0, 2, 1) @ (y - y_mean[:, None])[:, :, None]
    right[:, :, 0] *= m < players[:, None]
    try:
        found = np.linalg.solve(gram, right)[:, :, 0]
    except np.linalg.LinAlgError as error:
        raise NumericalError("the coalitions do not determine the coefficients; raise alpha above 0") from error
    return found, y_mean - np.einsum("nm,nm->n", z_mean, found)
