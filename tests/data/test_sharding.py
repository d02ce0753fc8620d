"""Shards cover everything once, and cut batches alike."""

import numpy as np

from xal.data.sharding import shards


def test_shards_cover_everything_once_and_cut_alike() -> None:
    for length, batch, batches in [(1, 4, 2), (100, 7, 3), (64, 8, 8), (65, 8, 8)]:
        cut = shards(length, None, batch, batches)
        assert np.concatenate([shard.positions() for shard in cut]).tolist() == list(range(length))
        assert all(shard.start % batch == 0 for shard in cut)
        rows = np.arange(length) * 3
        assert np.concatenate([shard.positions() for shard in shards(length, rows, batch, batches)]).tolist() == list(
            rows
        )


def test_the_last_shards_are_small_so_that_slots_finish_together() -> None:
    for rows in (None, np.arange(10_000) * 3):
        cut = shards(100_000 if rows is None else 10_000, rows, 256, 4, slots=2)
        sizes = [shard.stop - shard.start for shard in cut]
        assert sizes[0] == 4 * 256 and all(size == 256 for size in sizes[-4:-1]) and 0 < sizes[-1] <= 256
        assert sizes == sorted(sizes, reverse=True) and all(shard.start % 256 == 0 for shard in cut)
        wanted = np.arange(100_000) if rows is None else rows
        assert np.array_equal(np.concatenate([shard.positions() for shard in cut]), wanted)
    assert [shard.stop - shard.start for shard in shards(3, None, 4, 4, slots=8)] == [3]
    assert shards(0, None, 4, 4, slots=2) == []
