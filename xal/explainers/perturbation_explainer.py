"""Base of the explainers that ask a classifier about masked items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from torch import Tensor

from xal.core._typing import Field
from xal.errors import XalError
from xal.explainers.explainer import Explainer, Inputs
from xal.explainers.masking import MaskedItems, MaskValue, mask_items
from xal.explainers.segmentation import greys, grid_of, superpixels_of
from xal.types import Matrix, Output


@dataclass(frozen=True, kw_only=True)
class PerturbationExplainer(Explainer):
    """Base of the explainers that ask a network about coalitions of words, parts or columns."""

    kinds: ClassVar[frozenset[str]] = frozenset({"image", "text", "features"})

    output: Output = "probability"
    """What is explained: the class's probability, or its margin (logit)."""
    patches: Annotated[int, Field(ge=2)] = 7
    """Images: rows and columns of the grid."""
    superpixels: Annotated[int, Field(ge=4)] | None = None
    """Images: in place of the grid, about so many superpixels (SLICO) of each image's own; null: the grid."""
    mask_value: MaskValue = "blur"
    """Images: what absent parts show; mean: their mean colour; labelled: the labelled images drawn as background."""
    background: Annotated[int, Field(ge=1)] = 8
    """Labelled items whose numbers (or parts, with mask_value: labelled) stand for absent ones."""

    def __post_init__(self) -> None:
        if self.superpixels is not None and self.patches != type(self).patches:
            raise XalError(
                f"patches: {self.patches} and superpixels: {self.superpixels} exclude each other; give one of them"
            )

    @property
    def n_baselines(self) -> int:
        """`background`."""
        return self.background

    @property
    def space(self) -> Literal["shared", "per_item"]:  # type: ignore[override]
        """per_item where there are superpixels."""
        return "shared" if self.superpixels is None else "per_item"

    def unfit(self, kind: str) -> str | None:
        """Only images have superpixels."""
        if self.superpixels is not None and kind != "image":
            return f"finds superpixels in images, the pool holds {kind}; set superpixels to null"
        return super().unfit(kind)

    def masked(self, classifier: Any, inputs: Inputs, baselines: Tensor | None) -> MaskedItems:
        """The game of a payload of any kind."""
        return mask_items(
            classifier,
            inputs,
            self.output,
            patches=self.patches,
            superpixels=self.superpixels,
            mask_value=self.mask_value,
            baselines=None if baselines is None else baselines[: self.background],
        )

    def to_interpretable(self, inputs: Inputs) -> Matrix:
        """Words, the mean grey of each patch or superpixel, or numbers."""
        if not isinstance(inputs, Tensor) or inputs.ndim != 4:
            return super().to_interpretable(inputs)
        if self.superpixels is None:
            segments = grid_of(inputs.shape[2], inputs.shape[3], self.patches)[0]
        else:
            segments = superpixels_of(inputs, self.superpixels)
        return greys(inputs, segments)
