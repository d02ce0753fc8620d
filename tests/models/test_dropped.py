"""Draws of dropout: the same of all items, different from each other, of the right size and mean."""

import numpy as np
import pytest

from xal.models.dropped import DRAWS, SHARE, dropped


def test_a_draw_is_always_the_same_and_unlike_others() -> None:
    draws = [dropped(draw, 0, 400) for draw in range(DRAWS)]
    assert all(np.array_equal(dropped(draw, 0, 400), each) for draw, each in enumerate(draws))
    assert len({each.tobytes() for each in draws}) == DRAWS
    assert not np.array_equal(dropped(0, 0, 400), dropped(0, 1, 400))


@pytest.mark.parametrize("share", [SHARE, 0.2])
def test_what_is_kept_is_scaled(share: float) -> None:
    factors = dropped(0, 0, 10_000, share)
    assert factors.dtype == np.float32 and set(np.unique(factors)) == {np.float32(0), np.float32(1 / (1 - share))}
    assert (factors == 0).mean() == pytest.approx(share, abs=0.02) and factors.mean() == pytest.approx(1, abs=0.05)
