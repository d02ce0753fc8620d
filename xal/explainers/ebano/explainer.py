"""EBAnO: which parts of an image raise or lower the probability of a class, found by blurring them.

Reduced hypercolumns of the last layers are clustered into k interpretable features for every k in k_min..k_max; each
feature is blurred in turn, and nPIR and nPIRP compare the probabilities before and after. The explanation is the k of
largest informativeness max_f nPIR - min_f nPIR, the smallest such k where tied. 1 + sum(k) forwards an image.

Ventura, Cerquitelli, Giacalone 2018, doi 10.1007/978-3-030-00063-9_15; the thesis, sections 2.2.6 and 3.2 (BatchEBAnO,
whose settings are the defaults). Departures: see `hypercolumns` (all rows, before resizing), `kmeans` (batched,
2 restarts) and `perturbation` (each image blurred once).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Integer, Shaped, UInt8
from pydantic import Field
from torch import Tensor

from xal.component import nearest
from xal.errors import NumericalError, XalError
from xal.explainers.ebano.hypercolumns import Reduction, captured, hypercolumns
from xal.explainers.ebano.indices import Doubles, OtherClasses, indices
from xal.explainers.ebano.kmeans import assign, kmeans
from xal.explainers.ebano.perturbation import blur, compose, default_sigma
from xal.explainers.explainer import Explainer, Network
from xal.types import Explanations, Labels


@dataclass(frozen=True, kw_only=True)
class Ebano(Explainer, name="ebano"):
    """EBAnO with the settings of the thesis's BatchEBAnO.

    Invariant: the features partition the pixels; nPIR and nPIRP lie in [-1, 1]; a feature without pixels has both 0.
    """

    k_min: Annotated[int, Field(ge=2)] = 2
    k_max: Annotated[int, Field(ge=2, le=255)] = 5
    layers: Annotated[int, Field(ge=1)] | tuple[str, ...] = 3  # the last so many convolutions (all if fewer), or names
    components: Annotated[int, Field(ge=1)] = 10
    reduction: Reduction = "svd"
    restarts: Annotated[int, Field(ge=1)] = 2
    iterations: Annotated[int, Field(ge=1)] = 25  # at most
    stride: Annotated[int, Field(ge=1)] = 1  # k-means fits on every so-manieth row and column, all pixels are assigned
    other_classes: OtherClasses = "absolute"
    blur: Annotated[float, Field(ge=0.1)] | None = None  # sigma in pixels; None is 10 at 224 px, in proportion
    micro_batch: Annotated[int, Field(ge=1)] = 256  # perturbed images a forward
    seed: int = 0

    def __post_init__(self) -> None:
        if self.k_max < self.k_min:
            raise XalError(f"expected k_max of at least k_min = {self.k_min}, got {self.k_max}; raise k_max")
        if not self.layers or (isinstance(self.layers, int) and self.layers < 0):
            raise XalError(f"expected at least one layer, got layers = {self.layers}; give a number or names")

    def explain(
        self, network: Network, images: Shaped[Tensor, "b ch h w"], classes: Integer[Tensor, " b"] | None = None
    ) -> Explanations:
        """The best explanation of each image; f = k_max."""
        if images.ndim != 4 or not images.numel():
            raise XalError(f"expected images of shape (b, channels, h, w), got {tuple(images.shape)}")
        with torch.inference_mode():
            images = images.float()
            names = self._layer_names(network)
            with captured(network.module, names) as activations:
                original = _finite(network.probabilities(images), "unperturbed")
            maps = [_feature_maps(activations, name, len(images)) for name in names]
            explained = _explained(original, classes)
            columns = hypercolumns(maps, (images.shape[2], images.shape[3]), self.components, self.reduction).vectors
            segments = self._segments(columns)
            perturbed = self._perturbed(network, images, original, segments)
            original_array, perturbed_array = original.double().cpu().numpy(), perturbed.double().cpu().numpy()
            explained_array, segments_array = explained.long().cpu().numpy(), segments.cpu().numpy()
        npir, npirp = indices(original_array, perturbed_array, explained_array, self.other_classes)
        return self._best(segments_array, npir, npirp, explained_array, original_array)

    def check(self, explanations: Explanations) -> None:
        """Raise NumericalError unless the invariant of the class holds."""
        k, f = explanations.k, explanations.npir.shape[1]
        real = np.arange(f) < k[:, None]
        pixels = (explanations.segments[:, None] == np.arange(f)[:, None, None]).any((2, 3))
        broken = {
            f"have k outside {self.k_min}..{self.k_max}": (k < self.k_min) | (k > self.k_max),
            "have pixels of no feature": explanations.segments.max((1, 2)) >= k,
            "have a probability outside [0, 1]": ~(np.abs(explanations.probability - 0.5) <= 0.5 + 1e-3),
        }
        for name, values in (("nPIR", explanations.npir), ("nPIRP", explanations.npirp)):
            broken[f"have {name} outside [-1, 1]"] = (real & ~(np.abs(values) <= 1)).any(1)
            broken[f"have {name} of features beyond k"] = (~real & ~np.isnan(values)).any(1)
            broken[f"have {name} of a feature without pixels"] = (real & ~pixels & (values != 0)).any(1)
        found = [f"{int(rows.sum())} {problem}" for problem, rows in broken.items() if rows.any()]
        if found:
            raise NumericalError(f"of {len(explanations)} explanations {'; '.join(found)}; explain these images anew")

    def _layer_names(self, network: Network) -> list[str]:
        known = list(network.conv_layers())
        if not known:
            raise XalError("expected a network with convolutional layers, got none; choose another model")
        if isinstance(self.layers, int):
            return known[-self.layers :]
        for name in self.layers:
            if name not in known:
                raise XalError(f"unknown convolutional layer '{name}'{nearest(name, known)}")
        return list(self.layers)

    def _segments(self, columns: Float[Tensor, "b h w r"]) -> UInt8[Tensor, "ks b h w"]:
        """The feature of each pixel, for every k."""
        grid = columns[:, :: self.stride, :: self.stride].flatten(1, 2)
        pixels = columns.flatten(1, 2)
        segments = []
        for k in range(self.k_min, self.k_max + 1):
            found = kmeans(grid, k, restarts=self.restarts, iterations=self.iterations, seed=self.seed)
            labels = found.labels if self.stride == 1 else assign(pixels, found.centres)
            segments.append(labels.to(torch.uint8).view(columns.shape[:3]))
        return torch.stack(segments)

    def _perturbed(
        self,
        network: Network,
        images: Float[Tensor, "b ch h w"],
        original: Float[Tensor, "b c"],
        segments: UInt8[Tensor, "ks b h w"],
    ) -> Float[Tensor, "b features c"]:
        """Probabilities with each feature blurred, the features of all k in turn; an empty one changes nothing."""
        device = images.device
        ks = torch.arange(self.k_min, self.k_max + 1, device=device)
        which = torch.repeat_interleave(torch.arange(len(ks), device=device), ks)  # (features,) index into ks
        feature = torch.arange(len(which), device=device) - (ks.cumsum(0) - ks)[which]  # (features,) 0..k-1
        present = torch.zeros(len(images), len(ks), self.k_max, dtype=torch.bool, device=device)
        present.scatter_(2, segments.flatten(2).transpose(0, 1).long(), True)
        jobs = present[:, which, feature].nonzero()  # (m, 2) image, column
        sigma = default_sigma(*images.shape[2:]) if self.blur is None else self.blur
        blurred = blur(images, sigma)
        result = original[:, None].repeat(1, len(which), 1)
        for image, column in (chunk.unbind(1) for chunk in torch.split(jobs, self.micro_batch)):
            mask = segments[which[column], image] == feature[column, None, None]
            outputs = network.probabilities(compose(images[image], blurred[image], mask))
            result[image, column] = _finite(outputs, "perturbed").to(result.dtype)
        return result

    def _best(
        self,
        segments: npt.NDArray[np.uint8],
        npir: Doubles,
        npirp: Doubles,
        classes: Labels,
        original: Doubles,
    ) -> Explanations:
        """Keep the k of largest informativeness."""
        ks = np.arange(self.k_min, self.k_max + 1)
        starts = np.cumsum(ks) - ks
        spread = np.maximum.reduceat(npir, starts, axis=1) - np.minimum.reduceat(npir, starts, axis=1)
        best = spread.argmax(1)  # the first, hence the smallest k, where tied
        rows = np.arange(len(npir))
        number = np.arange(self.k_max)
        real = number < ks[best, None]
        columns = np.where(real, starts[best, None] + number, 0)
        return Explanations(
            segments=segments[best, rows],
            k=ks[best].astype(np.int64),
            npir=np.where(real, npir[rows[:, None], columns], np.nan),
            npirp=np.where(real, npirp[rows[:, None], columns], np.nan),
            explained_class=classes,
            probability=original[rows, classes],
        )


def _finite(probabilities: Float[Tensor, "m c"], which: str) -> Float[Tensor, "m c"]:
    wrong = int((~probabilities.isfinite()).sum())
    if wrong:
        raise NumericalError(
            f"{wrong} of {probabilities.numel()} probabilities of {which} images are not finite; check the model"
        )
    return probabilities


def _feature_maps(activations: Mapping[str, Tensor], name: str, count: int) -> Float[Tensor, "b _ _ _"]:
    """What the forward left for a layer: one map an image, else the network is not what it says."""
    shape = tuple(activations[name].shape) if name in activations else None
    if shape is None or len(shape) != 4 or shape[0] != count:
        raise XalError(
            f"expected layer '{name}' to give ({count}, channels, h, w) in one forward, got {shape or 'no output'}; "
            "choose other layers"
        )
    return activations[name]


def _explained(original: Float[Tensor, "b c"], classes: Integer[Tensor, " b"] | None) -> Integer[Tensor, " b"]:
    """The class of interest of each image."""
    if classes is None:
        return original.argmax(1)
    if classes.shape != original.shape[:1]:
        raise XalError(f"expected {len(original)} classes, one an image, got shape {tuple(classes.shape)}")
    outside = int(((classes < 0) | (classes >= original.shape[1])).sum())
    if outside:
        raise XalError(f"expected classes 0..{original.shape[1] - 1}, got {outside} outside; check the labels")
    return classes.to(original.device).long()
