"""Pool and runs on an object store (moto's S3 on loopback), ledgers in PostgreSQL, by the command line alone."""

import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3File, S3FileSystem

from tests.recipes import CLASSES, RUN, labels_of, outcome, small, write_pool, write_recipe, xal
from xal.campaign.experiment import run_experiment
from xal.core.paths import location
from xal.core.progress import Reporter
from xal.data.pool import Pool
from xal.store.run import read_run


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()  # they know the last test's endpoint
    place = location(f"s3://bucket-{port}")
    place.mkdir()
    yield str(place).rstrip("/")
    server.stop()


def upload(pool: Path, url: str) -> str:
    for file in pool.glob("*.parquet"):
        (location(url) / file.name).write_bytes(file.read_bytes())
    return url


def test_a_campaign_on_s3(
    tmp_path: Path,
    bucket: str,
    postgres: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XAL_LEDGER", "")
    local = write_pool(tmp_path / "pool", files=2)
    run_experiment(small(local), tmp_path / "runs", Reporter(quiet=True))
    pool = upload(local, f"{bucket}/pool")
    mapping = {"source": pool}
    recipe = write_recipe(tmp_path / "recipe.yaml", small(local, pool=mapping))
    runs = f"{bucket}/runs"
    assert xal("run", recipe, "--out", runs, "-q", monkeypatch=monkeypatch) == 2
    assert "is on an object store" in (error := capsys.readouterr().err) and "PostgreSQL" in error

    assert xal("run", recipe, "--out", runs, "--ledger", postgres, "-q", monkeypatch=monkeypatch) == 0
    monkeypatch.setenv("PGPASSWORD", "secret")  # the pointer holds no password
    assert f"report: {runs}/report.html" in capsys.readouterr().out
    assert outcome(read_run(location(f"{runs}/{RUN}"))) == outcome(read_run(tmp_path / "runs" / RUN))
    names = {
        str(path).removeprefix(f"{runs}/{RUN}/") for path in location(f"{runs}/{RUN}").rglob("*") if path.is_file()
    }
    mine = {str(path.relative_to(tmp_path / "runs" / RUN)) for path in (tmp_path / "runs" / RUN).rglob("*")}
    assert names - {"ledger.url"} == {
        name for name in mine if "." in Path(name).name and not name.startswith(("ledger", ".lock"))
    }
    assert xal("status", runs, monkeypatch=monkeypatch) == 0
    assert "finished" in capsys.readouterr().out
    assert xal("report", runs, monkeypatch=monkeypatch) == 0
    picture = tmp_path / "item.png"
    table = Pool.open(local).read_span(0, 1, ["image"])
    picture.write_bytes(table["image"][0].as_py())
    assert xal("explain", f"{runs}/{RUN}", picture, "--out", tmp_path / "why.png", monkeypatch=monkeypatch) == 0


def test_few_rows_of_a_pool_on_s3_are_few_bytes(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [np.random.default_rng(n).bytes(20_000) for n in range(400)]  # 8 MB, in row groups of 17
    pool = Pool.open(upload(write_pool(tmp_path / "pool", n=400, image=images), f"{bucket}/pool"))
    read: list[int] = []
    plain = S3File._fetch_range
    monkeypatch.setattr(
        S3File, "_fetch_range", lambda self, start, end: read.append(end - start) or plain(self, start, end)
    )
    rows = np.array([3, 4, 200])
    assert pool.read(rows, ["image"])["image"].to_pylist() == [images[row] for row in rows]
    assert 2 * 17 * 20_000 <= sum(read) < 3 * 17 * 20_000  # two row groups, and a footer


def test_labels_by_file_on_s3(
    tmp_path: Path, bucket: str, postgres: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XAL_LEDGER", postgres)
    local = write_pool(tmp_path / "pool")
    recipe = write_recipe(
        tmp_path / "recipe.yaml",
        small(local, annotator="file", pool={"classes": list(CLASSES)}, budget={"rounds": 0}),
    )
    runs = f"{bucket}/runs"
    assert xal("run", recipe, "--out", runs, "-q", monkeypatch=monkeypatch) == 0
    batch = location(f"{runs}/{RUN}/to-label/round-000/batch.csv")
    assert f"{batch}" in capsys.readouterr().out
    rows = list(csv.DictReader(batch.read_text().splitlines()))
    label_of = labels_of(local)
    with (tmp_path / "done.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerows([["id", "label"], *([row["id"], label_of[row["id"]]] for row in rows)])
    assert xal("label", f"{runs}/{RUN}", tmp_path / "done.csv", monkeypatch=monkeypatch) == 0
    assert xal("run", recipe, "--out", runs, "-q", monkeypatch=monkeypatch) == 0
    assert read_run(location(f"{runs}/{RUN}")).state == "finished"


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_on_ray_with_training_workers(
    tmp_path: Path, bucket: str, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Actors read the pool and the weights from S3; a training worker writes the weights there."""
    monkeypatch.setenv("XAL_LEDGER", postgres)
    local = write_pool(tmp_path / "pool", files=2)
    pool = upload(local, f"{bucket}/pool")
    engine = {"name": "ray", "batch": 16, "cpus": 2, "object_store_mb": 100, "actors": 1, "train_workers": 1}
    recipe = write_recipe(
        tmp_path / "recipe.yaml", small(local, pool={"source": pool}, engine=engine, budget={"rounds": 1})
    )
    command = [sys.executable, "-m", "xal.cli", "run", str(recipe), "--out", f"{bucket}/runs", "-q"]
    subprocess.run(command, check=True, timeout=500)
    run_experiment(small(local, budget={"rounds": 1}), tmp_path / "runs", Reporter(quiet=True))
    one, other = read_run(location(f"{bucket}/runs/{RUN}")), read_run(tmp_path / "runs" / RUN)
    assert [item.id for item in one.queried] == [item.id for item in other.queried] and one.state == "finished"
