"""The parts of images that explainers take away: patches of a grid, or superpixels of each image's own."""

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
    """((1, h, w) the patch of each pixel, the grid's tree, its rows, its columns)."""
    rows, columns = min(patches, height), min(patches, width)
    tree, order = grid(rows, columns)
    places = np.empty(rows * columns, np.int64)
    places[order] = np.arange(len(order))  # the player of each patch
    row, column = np.arange(height) * rows // height, np.arange(width) * columns // width
    return places.reshape(rows, columns)[row[:, None], column][None], tree, rows, columns


def superpixels_of(images: Tensor, wanted: int) -> Segments:
    """(b, h, w) the superpixel of each pixel, from 0, an image's in the order of their first pixels.

    SLICO (R. Achanta et al. 2012), whose parts are as even in textures as elsewhere, in CIELAB, by scikit-image, of
    each image alone. About `wanted` an image: centres lie on whole pixels, evenly spaced, so small images have fewer or
    more. images: (b, c, h, w), 0-255; other than three channels are seen as grey.
    """
    slic = require("skimage.segmentation", "vision", "superpixels").slic

    colours = images.double() / 255
    shown = colours if images.shape[1] == 3 else colours.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    each = shown.permute(0, 2, 3, 1).cpu().numpy()
    found = [_numbered(slic(image, n_segments=wanted, slic_zero=True)) for image in each]
    return np.array(found, np.int64).reshape(len(each), *each.shape[1:3])


def _numbered(segments: npt.NDArray[np.integer[Any]]) -> Segments:
    _, first, inverse = np.unique(segments, return_index=True, return_inverse=True)
    order: Segments = first.argsort().argsort()
    return order[inverse].reshape(segments.shape)


def means(pixels: Values, segments: Segments) -> Values:
    """(b, f) mean over the pixels of each part, NaN where an image has fewer parts.

    pixels: (b, h, w); segments: (b or 1, h, w).
    """
    f, image = int(segments.max(initial=0)) + 1, np.arange(len(pixels))[:, None, None]
    place = (image * f + segments).ravel()
    total, count = (np.bincount(place, weights, len(pixels) * f) for weights in (pixels.ravel(), None))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).reshape(len(pixels), f)


def greys(images: Tensor, segments: Segments) -> Values:
    """(b, f) mean grey of each part, 0-1, NaN where an image has fewer. images: (b, c, h, w), 0-255."""
    return means(images.double().mean(dim=1).cpu().numpy() / 255, segments)


def filled(images: Values, segments: Segments) -> Values:
    """(b, c, h, w) images whose parts show nothing but their mean colour; segments: (b or 1, h, w)."""
    image = np.arange(len(images))[:, None, None]
    channels = [means(images[:, channel], segments)[image, segments] for channel in range(images.shape[1])]
    return np.stack(channels, axis=1)
