"""Base class of the explainers that compare a classifier's outputs for masked items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from torch import Tensor

from xal.core._typing import Field
from xal.errors import XalError
from xal.explainers.explainer import Explainer, Inputs
from xal.explainers.masking import MEMORY_MB, MaskedItems, MaskValue, mask_items
from xal.explainers.segmentation import greys, grid_of, superpixels_of
from xal.types import Matrix, Output


@dataclass(frozen=True, kw_only=True)
class PerturbationExplainer(Explainer):
    """Base class. Attributes outputs to words, segments or columns from outputs for coalitions of them."""

    kinds: ClassVar[frozenset[str]] = frozenset({"image", "text", "features"})

    output: Output = "probability"
    """The output to explain: the class's probability, or its margin (logit)."""
    patches: Annotated[int, Field(ge=2)] = 7
    """Images: the number of rows and of columns of the grid."""
    superpixels: Annotated[int, Field(ge=4)] | None = None
    """Images: the approximate number of superpixels (SLICO) per image, in place of the grid; null: the grid."""
    mask_value: MaskValue = "blur"
    """Images: what masked segments show; mean: their mean colour; labelled: the `background` images."""
    background: Annotated[int, Field(ge=1)] = 8
    """Labelled items whose columns (or pixels, with mask_value: labelled) replace masked ones."""

    memory_mb: Annotated[int, Field(ge=1)] = MEMORY_MB
    """Memory in MB for the masks of the coalitions that are evaluated together; batches are cut by it."""

    def __post_init__(self) -> None:
        if self.superpixels is not None and self.patches != type(self).patches:
            raise XalError(
                f"patches: {self.patches} and superpixels: {self.superpixels} exclude each other; set one of them"
            )

    @property
    def n_baselines(self) -> int:
        """The setting `background`."""
        return self.background

    @property
    def space(self) -> Literal["shared", "per_item"]:  # type: ignore[override]
        """per_item with superpixels, else shared."""
        return "shared" if self.superpixels is None else "per_item"

    def unfit(self, kind: str) -> str | None:
        """As the base class, and for superpixels of anything but images."""
        if self.superpixels is not None and kind != "image":
            return f"finds superpixels in images, the pool holds {kind}; set superpixels to null"
        return super().unfit(kind)

    def masked(self, classifier: Any, inputs: Inputs, baselines: Tensor | None) -> MaskedItems:
        """The inputs as maskable items, with this explainer's settings."""
        masked = mask_items(
            classifier,
            inputs,
            self.output,
            patches=self.patches,
            superpixels=self.superpixels,
            mask_value=self.mask_value,
            baselines=None if baselines is None else baselines[: self.background],
        )
        masked.mask_bytes = self.memory_mb * 2**20
        return masked

    def to_interpretable(self, inputs: Inputs) -> Matrix:
        """(b, f) words present, numbers, or the mean grey (0-1) of each patch or superpixel."""
        if not isinstance(inputs, Tensor) or inputs.ndim != 4:
            return super().to_interpretable(inputs)
        if self.superpixels is None:
            segments = grid_of(inputs.shape[2], inputs.shape[3], self.patches)[0]
        else:
            segments = superpixels_of(inputs, self.superpixels)
        return greys(inputs, segments)
