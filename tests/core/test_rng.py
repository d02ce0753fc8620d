"""Draws that depend on the seed, the purpose and the id alone."""

import numpy as np
import pytest

from xal.core.rng import HashRng

IDS = np.array([f"item-{i}" for i in range(1000)], object)


def test_a_draw_is_the_items_own() -> None:
    rng = HashRng(3).child("round", 1)
    whole = dict(zip(IDS, rng.uniform(IDS), strict=True))
    order = np.random.default_rng(0).permutation(1000)[:200]
    np.testing.assert_array_equal(rng.uniform(IDS[order]), [whole[item] for item in IDS[order]])
    assert min(whole.values()) >= 0 and max(whole.values()) < 1 and len(set(whole.values())) == 1000


@pytest.mark.parametrize("other", [HashRng(4).child("a"), HashRng(3), HashRng(3).child("b"), HashRng(3).child("a", 1)])
def test_other_seeds_and_purposes_draw_otherwise(other: HashRng) -> None:
    one = HashRng(3).child("a")
    assert one.integer != other.integer
    assert abs(np.corrcoef(one.uniform(IDS), other.uniform(IDS))[0, 1]) < 5 / np.sqrt(1000)


def test_purposes_nest() -> None:
    assert HashRng(3).child("a").child("b", 2) == HashRng(3).child("a", "b", 2)
    assert HashRng(3).child("ab") != HashRng(3).child("a", "b")


def test_integers_seed_generators() -> None:
    integers = [HashRng(seed).child("fit").integer for seed in range(500)]
    assert all(0 <= value < 2**31 for value in integers) and len(set(integers)) == 500
    assert integers[7] == HashRng(7).child("fit").integer


def test_a_run_can_be_repeated_on_another_machine() -> None:
    """SHA-256 of "0/round/1" is the key and seeds: computed by hashlib alone."""
    import hashlib

    key = hashlib.sha256(b"0/round/1").hexdigest()[:16]
    assert HashRng(0).child("round", 1).integer == int(key, 16) % 2**31
