"""LIME: a weighted linear model of the network around an item.

The model is fitted to the network's outputs on random coalitions of the item's features, which are words, superpixels
or patches, or columns. For an item with m features, `samples` coalitions z in {0, 1}^m are drawn; the first one is the
whole item. Texts and tables mask a uniformly drawn number of features between 1 and m (as the `lime` package samples
words); images keep each segment with probability 1/2. The weights are pi = sqrt(exp(-D^2 / width^2)), where D is the
cosine distance between z and all ones (times 100 for texts, as in the package). The attributions are the coefficients
of a ridge regression with penalty `alpha` and an intercept, solved in closed form for a batch of items at once. With
`keep`, as in CAIPI, each of the repeated fits votes for its k largest coefficients; the k features with the most votes
keep their attributions, and the others get 0.

M. T. Ribeiro et al. 2016; the `lime` package 0.2. Departures: tables replace masked columns with those of labelled
items, where the package draws from a normal distribution; there is no feature selection; superpixels come from SLICO,
where the package uses quickshift, and are replaced according to `mask_value` (the package's choice is `mean`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from torch import Tensor

from xal.core._typing import Field, Integer
from xal.errors import NumericalError
from xal.explainers.explainer import Inputs, explained_classes, outputs_function
from xal.explainers.masking import Items, Masks, MaskValue, Values, finite, runs
from xal.explainers.perturbation_explainer import PerturbationExplainer
from xal.types import Explanations


@dataclass(frozen=True, kw_only=True)
class Lime(PerturbationExplainer, name="lime"):
    """LIME of words, superpixels or patches, or columns. Invariant: attributions are finite; they sum to no output."""

    samples: Annotated[int, Field(ge=2)] = 1000
    """Coalitions per item."""
    width: Annotated[float, Field(gt=0)] | None = None
    """Width of the kernel; null: the package's 25 for texts, 0.25 for images, 0.75 sqrt(m) for tables."""
    alpha: Annotated[float, Field(ge=0)] = 1.0
    """Ridge penalty."""
    repeats: Annotated[int, Field(ge=1)] = 1
    """Number of fits, each on its own coalitions. Their coefficients are averaged, which lowers the variance."""
    keep: Annotated[int, Field(ge=1)] | None = None
    """k: keep the k features that are most often among the k largest of a fit; null: keep all."""
    mask_value: MaskValue = "grey"
    seed: int = 0
    """Of the coalitions."""

    def explain(
        self,
        classifier: Any,
        inputs: Inputs,
        target: Integer[Tensor, " b"] | None = None,
        baselines: Tensor | None = None,
    ) -> Explanations:
        """Attribute each item's output to its words, segments or columns."""
        masked = self.masked(classifier, inputs, baselines)
        probabilities = outputs_function(classifier, "probability")(inputs)
        explained = explained_classes(probabilities, target).cpu().numpy()
        widest = int(masked.n_features.max(initial=1))
        values, base, output = np.zeros((len(explained), widest)), np.zeros(len(explained)), np.zeros(len(explained))
        votes = np.zeros_like(values)
        order = np.argsort(masked.n_features, kind="stable")
        for items in runs(masked, order, np.full(len(order), self.samples)):
            for repeat in range(self.repeats):
                masks = self._masks(masked.n_features[items], masked.kind == "image", repeat)
                n, s, m = masks.shape
                value = finite(masked.value(items.repeat(s), masks.reshape(n * s, m)))
                y = value[np.arange(n * s), explained[items].repeat(s)].reshape(n, s)
                coefficients, intercept = ridge(
                    masks, y, self._weights(masks, masked), masked.n_features[items], self.alpha
                )
                values[items, :m] += coefficients / self.repeats
                votes[items, :m] += _largest(np.abs(coefficients), self.keep)
                base[items] += intercept / self.repeats
                output[items] = y[:, 0]
        if self.keep is not None:  # ties are broken by the mean coefficient
            sizes = np.abs(values)
            values = np.where(_largest(votes + sizes / (2 * sizes.max(initial=1e-300)), self.keep), values, 0.0)
        return Explanations(
            explained_class=explained,
            probability=probabilities.cpu().numpy()[np.arange(len(explained)), explained].astype(np.float64),
            base=base,
            output=output,
            **masked.attributed(values),
        )

    def _masks(self, n_features: Items, image: bool, repeat: int) -> Masks:
        """(n, samples, m) coalitions. An item's depend only on its number of features, never on the other items."""
        by_size = {
            int(m): coalitions(int(m), self.samples, np.random.default_rng([self.seed, repeat, int(m)]), image)
            for m in np.unique(n_features)
        }
        masks = np.zeros((len(n_features), self.samples, max(int(n_features.max()), 1)), bool)
        for m, drawn in by_size.items():
            masks[n_features == m, :, :m] = drawn
        return masks

    def _weights(self, masks: Masks, masked: Any) -> Values:
        """(n, samples) weights pi of the coalitions."""
        n_kept = masks.sum(axis=2)
        m = np.maximum(n_kept[:, :1], 1)  # the first coalition is the whole item
        distance = 1 - np.sqrt(n_kept / m)  # the cosine of z and all ones is sqrt(|z| / m)
        if masked.kind == "text":
            distance, width = 100 * distance, 25.0
        else:
            width = 0.25 if masked.kind == "image" else 0.75 * float(np.sqrt(m.max()))
        return np.asarray(np.sqrt(np.exp(-(distance**2) / (self.width or width) ** 2)))


def _largest(sizes: Values, k: int | None) -> Masks:
    """(n, m) mask of the k largest values of each row, the first of tied ones; None: all."""
    if k is None or k >= sizes.shape[1]:
        return np.ones(sizes.shape, bool)
    chosen = np.argsort(-sizes, axis=1, kind="stable")[:, :k]
    mask = np.zeros(sizes.shape, bool)
    np.put_along_axis(mask, chosen, True, axis=1)
    return mask


def coalitions(m: int, samples: int, generator: np.random.Generator, image: bool) -> Masks:
    """(samples, m) random coalitions of m features; the first has all features."""
    if image:
        masks = generator.random((samples, m)) < 0.5
    else:
        n_masked = generator.integers(1, max(m, 1) + 1, samples)
        ranks = generator.random((samples, m)).argsort(axis=1).argsort(axis=1)
        masks = ranks >= n_masked[:, None]
    masks[0] = True
    return masks


def ridge(masks: Masks, y: Values, weights: Values, n_features: Items, alpha: float) -> tuple[Values, Values]:
    """Weighted ridge regressions of y (n, s) on masks (n, s, m), intercepts without penalty.

    Returns (n, m) coefficients, which are 0 beyond an item's `n_features`, and (n,) intercepts. Raises NumericalError
    if alpha is 0 and the coalitions do not determine the coefficients.
    """
    z = masks.astype(np.float64)
    total = weights.sum(axis=1)
    z_mean = np.einsum("ns,nsm->nm", weights, z) / total[:, None]
    y_mean = np.einsum("ns,ns->n", weights, y) / total
    z -= z_mean[:, None]
    if alpha > 0 and z.shape[1] < z.shape[2]:  # fewer coalitions than features: the dual system is smaller
        root = np.sqrt(weights)
        z *= root[:, :, None]
        gram = z @ z.transpose(0, 2, 1) + alpha * np.eye(z.shape[1])
        dual = np.linalg.solve(gram, (root * (y - y_mean[:, None]))[:, :, None])
        coefficients = (z.transpose(0, 2, 1) @ dual)[:, :, 0]
        return coefficients, y_mean - np.einsum("nm,nm->n", z_mean, coefficients)
    weighted = z * weights[:, :, None]
    gram = weighted.transpose(0, 2, 1) @ z
    m = np.arange(z.shape[2])
    gram[:, m, m] += np.where(m < n_features[:, None], alpha, 1.0)  # 1 beyond n_features: the solution is 0
    right = weighted.transpose(0, 2, 1) @ (y - y_mean[:, None])[:, :, None]
    right[:, :, 0] *= m < n_features[:, None]
    try:
        coefficients = np.linalg.solve(gram, right)[:, :, 0]
    except np.linalg.LinAlgError as error:
        raise NumericalError("the coalitions do not determine the coefficients; raise alpha above 0") from error
    return coefficients, y_mean - np.einsum("nm,nm->n", z_mean, coefficients)
