"""Images in a file behave like an array of them: views, positions, batches, and a disk that is too small."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from xal.errors import ResourceError
from xal.models import stored_images
from xal.models.stored_images import StoredImages

SHAPE = (3, 5, 4)
IMAGES = np.random.default_rng(0).integers(0, 256, (17, *SHAPE), np.uint8)


def stored(folder: Path) -> StoredImages:
    return StoredImages.write(folder / "images", SHAPE, np.array_split(IMAGES, 3), len(IMAGES))


def test_it_reads_like_an_array(tmp_path: Path) -> None:
    images = stored(tmp_path)
    assert images.shape == IMAGES.shape and len(images) == 17
    positions = torch.tensor([3, 3, 16, 0])
    assert torch.equal(images[positions], torch.from_numpy(IMAGES[positions]))
    mask = np.arange(17) % 3 == 1
    np.testing.assert_array_equal(np.asarray(images[mask]), IMAGES[mask])
    np.testing.assert_array_equal(np.asarray(images[mask][2:4]), IMAGES[mask][2:4])
    batches = list(images[:10].split(4))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate(batches), IMAGES[:10])


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path: Path, monkeypatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(stored_images.shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(ResourceError, match=r"0\.0 GB for decoded images.*TMPDIR.*engine\.train_memory_mb"):
        stored(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_was_cut_short(tmp_path: Path) -> None:
    images = stored(tmp_path)
    (tmp_path / "images").open("r+b").truncate(100)
    with pytest.raises(ResourceError, match="cut short"):
        images[np.array([5])]
