"""Room on the disk is checked before the first round."""

import shutil
from pathlib import Path

import pytest

from tests.recipes import small, write_pool
from xal.campaign import disk
from xal.campaign.disk import check_disk, check_scratch, size_of
from xal.campaign.validation import checked_pools
from xal.errors import ResourceError


def free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    usage = shutil.disk_usage("/")._replace(free=size)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _path: usage)


def test_models_of_all_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 10**6)
    check_disk(10**6, tmp_path / "new" / "runs")
    with pytest.raises(ResourceError, match=r"keep about 2 MB .* has 1 MB free; free some space"):
        check_disk(2 * 10**6, tmp_path)


def test_training_images_that_do_not_fit_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 labels of 3 x 224 x 224 in the last round are 75 MB, of which 64 may be in memory."""
    pool = write_pool(tmp_path / "pool", n=600)
    sections = {
        "model": {"name": "convnet", "size": 224, "channels": 3},
        "budget": {"initial": 400, "per_round": 50, "rounds": 2},
    }
    inside, outside = (small(pool, **sections, engine={"train_memory_mb": size}) for size in (100, 64))
    pools = checked_pools(outside)
    free(monkeypatch, 70 * 10**6)
    check_scratch(inside, pools)
    with pytest.raises(ResourceError, match=r"needs 75 MB for decoded images, .* 70 MB free; set TMPDIR"):
        check_scratch(outside, pools)
    free(monkeypatch, 80 * 10**6)
    check_scratch(outside, pools)


def test_sizes_in_words() -> None:
    assert [size_of(size) for size in (0, 999, 12_300_000, 4.2e12)] == ["0 B", "999 B", "12 MB", "4 TB"]
