"""EBAnO: finds the parts of an image that raise or lower the probability of a class by blurring them.

The reduced hypercolumns of the last layers are clustered into k interpretable features, for every k in k_min..k_max.
Each feature is blurred in turn, and nPIR and nPIRP compare the probabilities before and after. The explanation uses
the k of largest informativeness max_f nPIR - min_f nPIR (the smallest k if tied). 1 + sum(k) forward passes per image.

Ventura, Cerquitelli, Giacalone 2018, doi 10.1007/978-3-030-00063-9_15; the thesis, sections 2.2.6 and 3.2 (BatchEBAnO,
with the default settings). Departures: see `hypercolumns` (all rows, before resizing), `kmeans` (batched, on a
grid of pixels) and `perturbation` (each image blurred once).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.profiler import record_function

from xal.core._typing import Bool, Field, Float, Float32, Float64, Int64, Integer, Shaped, UInt8
from xal.core.registry import nearest
from xal.errors import NumericalError, XalError
from xal.explainers.ebano.backends import Backend, cluster
from xal.explainers.ebano.hypercolumns import Reduction, captured, hypercolumns
from xal.explainers.ebano.indices import OtherClasses, indices
from xal.explainers.ebano.kmeans import assign
from xal.explainers.ebano.perturbation import blur, compose, default_sigma
from xal.explainers.explainer import ConvClassifier, Explainer, explained_classes
from xal.types import Explanations

GRID = 64  # most rows and columns that k-means is fitted on, unless `stride` is set
CHUNK_PIXELS = {"cpu": 8 * 224**2, "cuda": 128 * 224**2}  # pixels of the images of one forward pass


class Segmentation(NamedTuple):
    """The segmentations of images into k features for every k, with the arrays that they were computed from."""

    images: Float32[Tensor, "b ch h w"]
    original: Float[Tensor, "b c"]
    """Probabilities of the unperturbed images."""
    columns: Float32[Tensor, "b r h w"]
    """Reduced hypercolumns."""
    segments: UInt8[Tensor, "ks b h w"]


@dataclass(frozen=True, kw_only=True)
class Ebano(Explainer, name="ebano"):
    """EBAnO with the settings of BatchEBAnO in the thesis.

    Invariant: the features partition the pixels; nPIR and nPIRP lie in [-1, 1]; a feature without pixels has both 0.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"conv_layers"})
    space: ClassVar[Literal["shared", "per_item", "ebano"]] = "ebano"

    k_min: Annotated[int, Field(ge=2)] = 2
    """Smallest number of features per image."""
    k_max: Annotated[int, Field(ge=2, le=255)] = 5
    """Largest number of features per image; the explanation uses the k of largest informativeness."""
    layers: Annotated[int, Field(ge=1)] | tuple[str, ...] | Literal["log2"] = 3
    """Convolutions to use: the number of last ones (all if fewer), their names, or log2: the last floor(log2(all))."""
    components: Annotated[int, Field(ge=1)] = 10
    """Dimensions that the hypercolumns are reduced to."""
    reduction: Reduction = "svd"
    """Method of reduction: svd, or pca, which subtracts the mean."""
    backend: Backend = "torch"
    """K-means implementation: torch (on the model's device), or, one image at a time, faiss or sklearn."""
    restarts: Annotated[int, Field(ge=1)] = 10
    """Restarts of k-means; the best one is used."""
    iterations: Annotated[int, Field(ge=1)] = 60
    """Largest number of k-means iterations."""
    stride: Annotated[int, Field(ge=1)] | None = None
    """k-means is fitted on every n-th row and column; null: at most 64 of each. All pixels are assigned."""
    other_classes: OtherClasses = "absolute"
    """How other classes count in nPIRP: absolute (absolute influence), or positive (only positive influence)."""
    blur: Annotated[float, Field(ge=0.1)] | None = None
    """Sigma of the blur in pixels; null: 10 for images of 224 px, proportional for other sizes."""
    micro_batch: Annotated[int, Field(ge=1)] | None = None
    """Images per forward pass; null: 8 of 224 x 224 pixels on a CPU, 128 on a GPU, more of smaller ones."""
    seed: int = 0
    """Seed of k-means."""

    def __post_init__(self) -> None:
        if self.k_max < self.k_min:
            raise XalError(
                f"expected k_max of at least k_min = {self.k_min}, got {self.k_max}; raise k_max or lower k_min"
            )
        if not self.layers or (isinstance(self.layers, int) and self.layers < 0):
            raise XalError(f"expected at least one layer, got layers = {self.layers}; give a number or names")

    @property
    def ks(self) -> range:
        """The numbers of features k_min..k_max."""
        return range(self.k_min, self.k_max + 1)

    def sigma(self, height: int, width: int) -> float:
        """Sigma in pixels of the blur of images of that size."""
        return default_sigma(height, width) if self.blur is None else self.blur

    def explain(
        self,
        classifier: ConvClassifier,
        inputs: Shaped[Tensor, "b ch h w"],
        target: Integer[Tensor, " b"] | None = None,
        baselines: Tensor | None = None,
    ) -> Explanations:
        """Explain each image with its most informative k; f = k_max."""
        if inputs.ndim != 4 or not inputs.numel():
            raise XalError(f"expected images of shape (b, channels, h, w), got {tuple(inputs.shape)}")
        if target is not None and target.shape != inputs.shape[:1]:
            raise XalError(f"expected {len(inputs)} targets, one per image, got shape {tuple(target.shape)}")
        size = self.forward_size(inputs)
        targets = [None] * math.ceil(len(inputs) / size) if target is None else target.split(size)
        batches = zip(inputs.split(size), targets, strict=True)
        return Explanations.concatenate(
            [self.weigh(classifier, self.segment(classifier, images), classes) for images, classes in batches]
        )

    @torch.inference_mode()
    def segment(self, classifier: ConvClassifier, images: Shaped[Tensor, "b ch h w"]) -> Segmentation:
        """Find the features of one forward batch of images, for every k."""
        names = self._layer_names(classifier)
        images = images.to(torch.float32, memory_format=torch.channels_last)
        with record_function("ebano: forward"), captured(classifier.module, names) as activations:
            original = _finite(classifier.probabilities(images), "unperturbed")
        with record_function("ebano: hypercolumns"):
            maps = [_feature_maps(activations, name, len(images)) for name in names]
            columns = hypercolumns(maps, (images.shape[2], images.shape[3]), self.components, self.reduction).vectors
        stride = self.stride or math.ceil(max(columns.shape[2:]) / GRID)
        with record_function("ebano: k-means"):
            grid = columns[:, :, ::stride, ::stride].flatten(2)
            clusterings = cluster(grid, self.ks, self.backend, self.restarts, self.iterations, self.seed)
        with record_function("ebano: assign"):
            pixels = columns.flatten(2)
            labels = torch.stack([assign(pixels, clustering.centres).to(torch.uint8) for clustering in clusterings])
            segments = labels.view(len(clusterings), len(columns), *columns.shape[2:])
        return Segmentation(images, original, columns, segments)

    @torch.inference_mode()
    def weigh(
        self, classifier: ConvClassifier, segmentation: Segmentation, target: Integer[Tensor, " b"] | None = None
    ) -> Explanations:
        """Blur each feature in turn, compute its indices, and use the k of largest informativeness."""
        images, original, _, segments = segmentation
        explained = explained_classes(original, target)
        with record_function("ebano: blur"):
            blurred = blur(images, self.sigma(*images.shape[2:])).contiguous(memory_format=torch.channels_last)
        perturbed = self._perturbed(classifier, images, blurred, original, segments)
        with record_function("ebano: indices"):
            npir, npirp = indices(original, perturbed, explained, self.other_classes)
            return self._best(segments, npir, npirp, explained, original)

    def check(self, explanations: Explanations) -> None:
        """Raise NumericalError unless the invariant of the class holds."""
        k, f = explanations.n_features, explanations.npir.shape[1]
        exists = np.arange(f) < k[:, None]
        pixels = (explanations.segments[:, None] == np.arange(f)[:, None, None]).any((2, 3))
        broken = {
            f"have k outside {self.k_min}..{self.k_max}": (k < self.k_min) | (k > self.k_max),
            "have pixels that belong to no feature": explanations.segments.max((1, 2)) >= k,
            "have a probability outside [0, 1]": ~(np.abs(explanations.probability - 0.5) <= 0.5 + 1e-3),
            "have different features in nPIR and nPIRP": k != (~np.isnan(explanations.npirp)).sum(1),
        }
        for name, values in (("nPIR", explanations.npir), ("nPIRP", explanations.npirp[:, :f])):
            broken[f"have {name} outside [-1, 1]"] = (exists & ~(np.abs(values) <= 1)).any(1)
            broken[f"have nonzero {name} for a feature without pixels"] = (exists & ~pixels & (values != 0)).any(1)
        problems = [f"{int(rows.sum())} {problem}" for problem, rows in broken.items() if rows.any()]
        if problems:
            raise NumericalError(
                f"invalid among {len(explanations)} explanations: {'; '.join(problems)}; explain these images again"
            )

    def _layer_names(self, classifier: ConvClassifier) -> list[str]:
        names = list(classifier.conv_layers())
        if not names:
            raise XalError("expected a network with convolutional layers, got none; choose another model")
        if self.layers == "log2":
            return names[-max(1, int(math.log2(len(names)))) :]
        if isinstance(self.layers, int):
            return names[-self.layers :]
        for name in self.layers:
            if name not in names:
                raise XalError(f"unknown convolutional layer '{name}'{nearest(name, names)}")
        return list(self.layers)

    def forward_size(self, images: Tensor) -> int:
        """Images per forward pass: few enough for a CPU's caches, enough to fill a GPU."""
        if self.micro_batch is not None:
            return self.micro_batch
        pixels = CHUNK_PIXELS.get(images.device.type, CHUNK_PIXELS["cpu"])
        return max(1, min(pixels // (images.shape[2] * images.shape[3]), 16 * pixels // 224**2))

    def _perturbed(
        self,
        classifier: ConvClassifier,
        images: Float[Tensor, "b ch h w"],
        blurred: Float[Tensor, "b ch h w"],
        original: Float[Tensor, "b c"],
        segments: UInt8[Tensor, "ks b h w"],
    ) -> Float[Tensor, "b f c"]:
        """Probabilities with each feature blurred, for the features of all k; an empty feature changes nothing."""
        with record_function("ebano: masks"):
            masks = torch.cat([_masks(labels, k) for labels, k in zip(segments, self.ks, strict=True)])
            present = masks.flatten(2).any(2).cpu()  # (f, b)
        result = original[:, None].repeat(1, len(masks), 1)
        for column, (mask, nonempty) in enumerate(zip(masks, present, strict=True)):  # one forward pass each
            rows = slice(None) if nonempty.all() else nonempty.nonzero()[:, 0].to(images.device)
            if nonempty.any():
                with record_function("ebano: compose"):
                    composed = compose(images[rows], blurred[rows], mask[rows])
                with record_function("ebano: perturbed forwards"):
                    result[rows, column] = classifier.probabilities(composed).to(result.dtype)
        return _finite(result, "perturbed")

    def _best(
        self,
        segments: UInt8[Tensor, "ks b h w"],
        npir: Float64[Tensor, "b f"],
        npirp: Float64[Tensor, "b f"],
        explained: Int64[Tensor, " b"],
        original: Float[Tensor, "b c"],
    ) -> Explanations:
        """Explanations with the k of largest informativeness."""
        ks = np.arange(self.k_min, self.k_max + 1)
        starts = np.cumsum(ks) - ks
        indices_of_all = npir.cpu().numpy()
        spread = np.maximum.reduceat(indices_of_all, starts, axis=1) - np.minimum.reduceat(
            indices_of_all, starts, axis=1
        )
        best = spread.argmax(1)  # the first of tied ones, which is the smallest k
        rows = np.arange(len(best))
        number = np.arange(self.k_max)
        exists = number < ks[best, None]
        columns = np.where(exists, starts[best, None] + number, 0)
        chosen = torch.from_numpy(best).to(segments.device), torch.from_numpy(rows).to(segments.device)
        return Explanations(
            segments=segments[chosen].cpu().numpy(),
            attributions=np.where(exists, indices_of_all[rows[:, None], columns], np.nan),
            interpretable_input=np.where(exists, 1.0, np.nan),
            npirp=np.where(exists, npirp.cpu().numpy()[rows[:, None], columns], np.nan),
            explained_class=explained.cpu().numpy(),
            probability=original.gather(1, explained[:, None])[:, 0].double().cpu().numpy(),
            feature_kind="segments",
            per_item=True,
        )


@dataclass(frozen=True, kw_only=True)
class EbanoExpress(Ebano, name="ebano_express"):
    """EBAnO with the settings of EBAnO-Express: more layers, PCA to 30 components, all pixels, scikit-learn's k-means.

    It is slow, because it clusters one image at a time on the CPU; `ebano` is compared with it.
    """

    layers: Annotated[int, Field(ge=1)] | tuple[str, ...] | Literal["log2"] = "log2"
    components: Annotated[int, Field(ge=1)] = 30
    reduction: Reduction = "pca"
    backend: Backend = "sklearn"
    restarts: Annotated[int, Field(ge=1)] = 10
    iterations: Annotated[int, Field(ge=1)] = 300
    stride: Annotated[int, Field(ge=1)] | None = 1
    other_classes: OtherClasses = "positive"


def _masks(labels: UInt8[Tensor, "b h w"], k: int) -> Bool[Tensor, "k b h w"]:
    return labels == torch.arange(k, dtype=torch.uint8, device=labels.device)[:, None, None, None]


def _finite(probabilities: Float[Tensor, "*m c"], which: str) -> Float[Tensor, "*m c"]:
    wrong = int((~probabilities.isfinite()).sum())
    if wrong:
        raise NumericalError(
            f"{wrong} of {probabilities.numel()} probabilities of {which} images are not finite; check the model"
        )
    return probabilities


def _feature_maps(activations: Mapping[str, Tensor], name: str, count: int) -> Float[Tensor, "b _ _ _"]:
    """The captured output of a layer, (b, channels, h, w); XalError if it has another shape."""
    shape = tuple(activations[name].shape) if name in activations else None
    if shape is None or len(shape) != 4 or shape[0] != count:
        raise XalError(
            f"expected layer '{name}' to give ({count}, channels, h, w) in one forward, got {shape or 'no output'}; "
            "choose other layers"
        )
    return activations[name]
