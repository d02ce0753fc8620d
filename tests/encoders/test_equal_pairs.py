"""Which of a table's columns are equal, by a loop."""

import numpy as np

from xal.encoders import Encoder


def test_pairs_in_order() -> None:
    x = np.random.default_rng(0).integers(0, 3, (20, 5))
    encoder = Encoder.named("equal_pairs")()
    found = encoder.load(encoder.fit(x)).encode(x)
    expected = [[float(row[i] == row[j]) for i in range(5) for j in range(i + 1, 5)] for row in x]
    np.testing.assert_array_equal(found, expected)
    assert encoder.kind == "features" and not encoder.bag
