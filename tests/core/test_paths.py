"""Paths and URLs."""

import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xal.core.paths import arrow, location, remote
from xal.data.pool import Pool
from xal.errors import DataError


@pytest.mark.parametrize("text", ["runs/a", "/runs/a", "~/runs", "file:///runs/a", Path("runs")])
def test_local_paths_stay_paths(text: str | Path) -> None:
    assert type(location(text)) is type(Path()) and not remote(location(text))


def test_a_url_reads_writes_and_travels() -> None:
    place = location("memory://bucket/runs")
    assert remote(place) and location(place) is place and str(place / "a") == "memory://bucket/runs/a"
    (place / "x.txt").write_text("hello")
    again = pickle.loads(pickle.dumps(place / "x.txt"))
    assert again == place / "x.txt" and again.read_text() == "hello"


@pytest.mark.parametrize(("url", "advice"), [("nosuch://x/y", "install the fsspec package"), ("://x", "install")])
def test_unknown_file_systems(url: str, advice: str) -> None:
    with pytest.raises(DataError, match=advice):
        location(url)


def test_pools_by_url() -> None:
    folder = location("memory://bucket/pool")
    table = pa.table({"id": [f"i{n}" for n in range(50)], "text": ["x"] * 50})
    for number in range(2):
        with (folder / f"part-{number}.parquet").open("wb") as handle:
            pq.write_table(table.slice(25 * number, 25), handle, row_group_size=7)
    pool = Pool.open("memory://bucket/pool")
    assert len(pool) == 50 and pool.files == ("part-0.parquet", "part-1.parquet")
    assert pool.read_span(20, 30, ["id"])["id"].to_pylist() == [f"i{n}" for n in range(20, 30)]
    with pytest.raises(DataError, match="no pool at memory://bucket/none"):
        Pool.open("memory://bucket/none")


def test_arrow_takes_both(tmp_path: Path) -> None:
    assert arrow(tmp_path) == (str(tmp_path), None)
    path, filesystem = arrow(location("memory://bucket/a"))
    assert path == "/bucket/a" and filesystem is not None
