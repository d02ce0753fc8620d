"""Perturbation of an interpretable feature: the raw image blurred inside the mask, untouched outside, hard edge.

Ventura, Cerquitelli, Giacalone 2018, doi 10.1007/978-3-030-00063-9_15; the thesis, section 3.2 (Gaussian, sigma 10 px).
Departure: the blur of an image does not depend on the mask, so each image is blurred once, its kernel cut at 4 sigma;
the reference blurs an image anew for every feature. The blur is two products, B_h X B_w', with B an axis's blur as a
matrix, which suits a CPU better than a convolution with 81 taps.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, where

from xal.core._typing import Bool, Float, Shaped
from xal.errors import XalError

SMALLEST_SIGMA = 0.1  # pixels; below it the kernel is the identity and every feature would seem irrelevant
TRUNCATE = 4.0  # sigmas, as in scipy.ndimage


def default_sigma(height: int, width: int) -> float:
    """10 px at the thesis's 224 px, in proportion for other sizes."""
    return max(SMALLEST_SIGMA, 10.0 * min(height, width) / 224.0)


def blur(images: Shaped[Tensor, "b ch h w"], sigma: float) -> Float[Tensor, "b ch h w"]:
    """Gaussian blur of sigma pixels with reflected borders; the kernel's radius stays below the image's size."""
    if not SMALLEST_SIGMA <= sigma < math.inf:
        raise XalError(f"expected a blur of at least {SMALLEST_SIGMA} pixels, got {sigma}; raise blur")
    images = images if images.is_floating_point() else images.float()
    down, across = (_axis(size, sigma, images) for size in images.shape[-2:])
    return down @ images @ across.mT


def _axis(size: int, sigma: float, like: Tensor) -> Float[Tensor, "size size"]:
    """The blur of an axis of `size` pixels as a matrix: the kernel over every window of the reflected unit vectors."""
    radius = min(math.ceil(TRUNCATE * sigma), size - 1)
    offsets = torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)
    kernel = torch.softmax(-0.5 * (offsets / sigma).square(), 0)
    units = F.pad(torch.eye(size, dtype=like.dtype, device=like.device)[None], (radius, radius), mode="reflect")[0]
    return (units.unfold(1, len(kernel), 1) @ kernel).mT


def compose(
    images: Float[Tensor, "m ch h w"], blurred: Float[Tensor, "m ch h w"], mask: Bool[Tensor, "m h w"]
) -> Float[Tensor, "m ch h w"]:
    """The blurred image inside the mask, the image outside."""
    return where(mask[:, None], blurred, images)


def keep_only(
    images: Shaped[Tensor, "b ch h w"], mask: Bool[Tensor, "b h w"], sigma: float | None = None
) -> Float[Tensor, "b ch h w"]:
    """Everything but the mask blurred: the copy that EBAnO-Augment trains on (thesis, section 3.3).

    sigma: pixels; None is `default_sigma` of the image's size.
    """
    height, width = images.shape[-2:]
    blurred = blur(images, default_sigma(height, width) if sigma is None else sigma)
    return compose(images.to(blurred.dtype), blurred, ~mask)
