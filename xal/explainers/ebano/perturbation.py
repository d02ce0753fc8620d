"""Perturbation of an interpretable feature: the image is blurred inside the mask and unchanged outside (hard edge).

Ventura, Cerquitelli, Giacalone 2018, doi 10.1007/978-3-030-00063-9_15; the thesis, section 3.2 (Gaussian, sigma 10 px).
Departures: each image is blurred once, because the blur does not depend on the mask, where the reference blurs it for
every feature; the kernel is truncated at 4 sigma. The blur is computed as B_h X B_w', with the blur of an axis as a
matrix B, which is faster on a CPU than a convolution with 81 taps.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, where

from xal.core._typing import Bool, Float, Shaped
from xal.errors import XalError

SMALLEST_SIGMA = 0.1  # pixels; below it the kernel is the identity, and every feature would appear irrelevant
TRUNCATE = 4.0  # sigmas, as in scipy.ndimage


def default_sigma(height: int, width: int) -> float:
    """Sigma in pixels: 10 for images of 224 px as in the thesis, proportional for other sizes."""
    return max(SMALLEST_SIGMA, 10.0 * min(height, width) / 224.0)


def blur(images: Shaped[Tensor, "b ch h w"], sigma: float) -> Float[Tensor, "b ch h w"]:
    """Gaussian blur of sigma pixels with reflected borders; the kernel's radius is less than the image's size.

    Raises XalError for a sigma below 0.1 pixels.
    """
    if not SMALLEST_SIGMA <= sigma < math.inf:
        raise XalError(f"expected a blur of at least {SMALLEST_SIGMA} pixels, got {sigma}; raise blur")
    images = images if images.is_floating_point() else images.float()
    down, across = (_axis(size, sigma, images) for size in images.shape[-2:])
    return down @ images @ across.mT


def _axis(size: int, sigma: float, like: Tensor) -> Float[Tensor, "size size"]:
    """The blur of an axis of `size` pixels as a matrix: the kernel applied to the reflected unit vectors."""
    radius = min(math.ceil(TRUNCATE * sigma), size - 1)
    offsets = torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)
    kernel = torch.softmax(-0.5 * (offsets / sigma).square(), 0)
    unit_vectors = F.pad(torch.eye(size, dtype=like.dtype, device=like.device)[None], (radius, radius), mode="reflect")[
        0
    ]
    return (unit_vectors.unfold(1, len(kernel), 1) @ kernel).mT


def compose(
    images: Float[Tensor, "m ch h w"], blurred: Float[Tensor, "m ch h w"], mask: Bool[Tensor, "m h w"]
) -> Float[Tensor, "m ch h w"]:
    """Return the blurred images inside the masks and the images outside."""
    return where(mask[:, None], blurred, images)


def keep_only(
    images: Shaped[Tensor, "b ch h w"], mask: Bool[Tensor, "b h w"], sigma: float | None = None
) -> Float[Tensor, "b ch h w"]:
    """Blur everything outside the masks: the copies that EBAnO-Augment trains on (thesis, section 3.3).

    sigma: pixels; None: `default_sigma` of the image's size.
    """
    height, width = images.shape[-2:]
    blurred = blur(images, default_sigma(height, width) if sigma is None else sigma)
    return compose(images.to(blurred.dtype), blurred, ~mask)
