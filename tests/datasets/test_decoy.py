"""Decoys: corners whose shade gives the class away."""

import numpy as np

from xal.datasets.decoy import decoy


def test_a_decoy_is_a_corner_and_its_shade_the_class() -> None:
    images = np.full((40, 1, 28, 28), 7, np.uint8)
    labels = np.arange(40) % 10
    painted, where = decoy(images, labels, labels, seed=0)
    assert (where.sum(axis=(1, 2)) == 16).all() and (painted[~where[:, None]] == 7).all()
    corners = {tuple(np.argwhere(mask)[0].tolist()) for mask in where}
    assert corners == {(0, 0), (0, 24), (24, 0), (24, 24)}
    for image, mask, label in zip(painted, where, labels, strict=True):
        assert set(image[0][mask].tolist()) == {255 - 25 * label}
    np.testing.assert_array_equal(images, 7)
