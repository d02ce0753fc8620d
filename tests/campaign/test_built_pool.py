"""Folders of images and tables as a recipe's source: made a pool beside them, once."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xal.campaign.built_pool import built_pool
from xal.campaign.pools import open_pool
from xal.campaign.recipe import PoolSection
from xal.errors import DataError


def photos(folder: Path, n: int = 4) -> Path:
    folder.mkdir()
    for i in range(n):
        Image.fromarray(np.full((20, 30, 3), i * 60, np.uint8)).save(folder / f"{i}.png")
    return folder


def test_a_folder_is_built_once(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    notes: list[str] = []
    pool = open_pool(PoolSection(source=str(folder)), notes.append)
    assert len(pool) == 4 and pool.folder == tmp_path / "photos-pool"
    assert "4 items in" in notes[-1] and any("unreadable: broken.jpg" in note for note in notes)
    before = pool.stamp
    assert built_pool(str(folder)) == (str(pool.folder), [])
    assert open_pool(PoolSection(source=str(folder))).stamp == before
    assert built_pool(str(pool.folder)) == (str(pool.folder), [])


def test_a_folder_that_has_changed_is_refused_with_the_ways_on(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    built_pool(str(folder))
    Image.new("RGB", (5, 5)).save(folder / "new.png")
    (folder / "0.png").unlink()
    with pytest.raises(
        DataError, match=r"has changed .* 1 files are new, 1 are gone, 0 have another .*Go on with that pool"
    ):
        built_pool(str(folder))


def test_a_table_is_built_and_a_foreign_folder_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,text\n1,one\n2,two\n")
    assert len(open_pool(PoolSection(source=str(tmp_path / "t.csv")))) == 2
    (tmp_path / "u.csv").write_text("id,text\n1,one\n")
    (tmp_path / "u.csv-pool").mkdir()
    with pytest.raises(DataError, match=r"u.csv-pool exists and was not built from"):
        built_pool(str(tmp_path / "u.csv"))
    with pytest.raises(DataError, match="xxx cannot be a pool: File name too long"):
        built_pool("x" * 10_000)
    with pytest.raises(DataError, match="no pool at"):
        open_pool(PoolSection(source=str(tmp_path / "absent")))
