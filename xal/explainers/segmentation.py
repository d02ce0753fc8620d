"""Segments of images: the patches of a grid, or superpixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from xal.core.extras import require
from xal.explainers.partition_tree import Tree, grid

Values = npt.NDArray[np.float64]
Segments = npt.NDArray[np.int64]


def grid_of(height: int, width: int, patches: int) -> tuple[Segments, Tree, int, int]:
    """Return the patch of each pixel (1, h, w), numbered as the tree's leaves, the tree, and its rows and columns."""
    rows, columns = min(patches, height), min(patches, width)
    tree, order = grid(rows, columns)
    number = np.empty(rows * columns, np.int64)
    number[order] = np.arange(len(order))  # the leaf of each patch
    row, column = np.arange(height) * rows // height, np.arange(width) * columns // width
    return number.reshape(rows, columns)[row[:, None], column][None], tree, rows, columns


def superpixels_of(images: Tensor, n_segments: int) -> Segments:
    """(b, h, w) the superpixel of each pixel, numbered from 0 in the order of their first pixels in the image.

    scikit-image's SLICO (R. Achanta et al. 2012) in CIELAB, for each image separately; its superpixels are as compact
    in textured regions as in smooth ones. The number per image is only near `n_segments`, because the initial centres
    lie on a grid of whole pixels. images: (b, c, h, w), 0-255; images without three channels are converted to grey.
    """
    slic = require("skimage.segmentation", "vision", "superpixels").slic

    colours = images.double() / 255
    shown = colours if images.shape[1] == 3 else colours.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    pixels = shown.permute(0, 2, 3, 1).cpu().numpy()
    segments = [_numbered(slic(image, n_segments=n_segments, slic_zero=True)) for image in pixels]
    return np.array(segments, np.int64).reshape(len(pixels), *pixels.shape[1:3])


def _numbered(segments: npt.NDArray[np.integer[Any]]) -> Segments:
    _, first, inverse = np.unique(segments, return_index=True, return_inverse=True)
    order: Segments = first.argsort().argsort()
    return order[inverse].reshape(segments.shape)


def means(pixels: Values, segments: Segments) -> Values:
    """(b, f) mean over the pixels of each segment, NaN beyond an image's number of segments.

    pixels: (b, h, w); segments: (b or 1, h, w).
    """
    f, image = int(segments.max(initial=0)) + 1, np.arange(len(pixels))[:, None, None]
    index = (image * f + segments).ravel()
    total, count = (np.bincount(index, weights, len(pixels) * f) for weights in (pixels.ravel(), None))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).reshape(len(pixels), f)


def greys(images: Tensor, segments: Segments) -> Values:
    """(b, f) mean grey (0-1) of each segment, NaN beyond an image's number. images: (b, c, h, w), 0-255."""
    return means(images.double().mean(dim=1).cpu().numpy() / 255, segments)


def filled(images: Values, segments: Segments) -> Values:
    """(b, c, h, w) images with every segment filled with its mean colour; segments: (b or 1, h, w)."""
    image = np.arange(len(images))[:, None, None]
    channels = [means(images[:, channel], segments)[image, segments] for channel in range(images.shape[1])]
    return np.stack(channels, axis=1)
