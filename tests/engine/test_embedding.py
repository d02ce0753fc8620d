"""Kept vectors: computed once, resumable at any point, checked by content, and the same on every engine."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.recipes import QUIET, only_run, outcome, small, write_pool
from xal.campaign.experiment import run_experiment
from xal.data import embeddings, images
from xal.data.embeddings import Embeddings
from xal.data.pool import Pool
from xal.encoders.image_encoders import ImageEncoder
from xal.engine import RayEngine, SerialEngine
from xal.engine.coordinator import Coordinator
from xal.engine.embedding import embed_pool
from xal.engine.engine import Session
from xal.errors import DataError

SHAPE = (1, 12, 12)
CALLS: Counter[str] = Counter()


@dataclass(frozen=True, kw_only=True)
class Halves(ImageEncoder):
    """Mean levels of the rows, the columns, and a weight."""

    size: int = 12
    channels: Any = 1
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    weight: float = 1.0

    def module(self) -> nn.Module:
        return Means(self.weight)


class Means(nn.Module):
    def __init__(self, weight: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(weight))

    def forward(self, x: Any) -> Any:
        CALLS["items"] += len(x)
        return torch.cat([x.mean(dim=(1, 2)), x.mean(dim=(1, 3))], dim=1) * self.scale


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(embeddings, "CHUNKS", 1)
    monkeypatch.setattr(embeddings, "MAX_ROWS", 32)
    CALLS.clear()
    yield
    embeddings._crc32.cache_clear()
    embeddings._index.cache_clear()


def embed(pool: Path, session: Session | None = None, encoder: ImageEncoder | None = None, **options: Any) -> Pool:
    session = session or SerialEngine(batch=16).open()
    return embed_pool(session, Pool.open(pool), encoder or Halves(), pool / "store", SHAPE, **options)


def pixels(pool: Path) -> np.ndarray:
    opened = Pool.open(pool)
    payloads = opened.read_span(0, len(opened), ["image"])["image"].to_pylist()
    return images.decode(payloads, SHAPE)[0]


def test_vectors_are_the_encoders_whatever_the_files(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool", files=3)
    kept = embed(pool).embeddings
    expected = Halves().load({}).encode(pixels(pool))
    np.testing.assert_allclose(kept.read_span(0, 120), expected, rtol=1e-6)
    rows = np.array([0, 39, 40, 41, 80, 119])
    np.testing.assert_array_equal(kept.read(rows), kept.read_span(0, 120)[rows])
    assert len(kept) == 120 and kept.width == 24
    half = embed(pool, dtype="float16").embeddings
    np.testing.assert_array_equal(half.read_span(0, 120), expected.astype(np.float16).astype(np.float32))


def test_items_that_cannot_be_read_have_no_vector(tmp_path: Path) -> None:
    good = Pool.open(write_pool(tmp_path / "good")).read_span(0, 120, ["image"])["image"].to_pylist()
    pool = write_pool(tmp_path / "pool", image=[b"broken" if i in (5, 70) else good[i] for i in range(120)])
    said: list[str] = []
    kept = embed(pool, say=said.append)
    assert np.flatnonzero(np.isnan(kept.embeddings.read_span(0, 120)).any(axis=1)).tolist() == [5, 70]
    assert said == ["2 items have no vector and will not be queried, first 'item-0005': cannot be read"]


def test_an_item_without_a_vector_is_not_usable(tmp_path: Path) -> None:
    """It can be decoded, but the encoder failed on it: training must not meet its NaN."""
    pool = embed(write_pool(tmp_path / "pool"))
    vectors = pool.embeddings.read_span(0, 32)
    vectors[7] = np.nan
    pool.embeddings.write(0, vectors)
    coordinator = Coordinator(session=SerialEngine(batch=16).open(), pool=pool, shape=SHAPE)
    assert coordinator.undecodable(np.array([6, 7, 8])) == ("item-0007",)


def test_what_is_kept_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after three chunks, the pass goes on with the fourth; a second pass computes nothing."""
    pool = write_pool(tmp_path / "pool", files=2)  # 60 rows a file: chunks of 32 and 28
    write, written = Embeddings.write, 0

    def stop(self: Embeddings, first: int, vectors: np.ndarray) -> None:
        nonlocal written
        written += 1
        if written == 4:
            raise KeyboardInterrupt
        write(self, first, vectors)

    monkeypatch.setattr(Embeddings, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        embed(pool)
    monkeypatch.setattr(Embeddings, "write", write)
    CALLS.clear()
    half = next((pool / "store").glob("*/*/*.npy")).with_name(".half")  # of a process that was killed
    half.write_bytes(b"")
    os.utime(half, (0, 0))
    vectors = embed(pool).embeddings.read_span(0, 120)
    assert not half.exists()
    assert CALLS["items"] == 28 + 1  # and one item to learn the width
    np.testing.assert_allclose(vectors, Halves().load({}).encode(pixels(pool)), rtol=1e-6)
    CALLS.clear()
    embed(pool)
    assert CALLS["items"] == 1


def test_an_appended_file_adds_what_is_new(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool", files=2)
    embed(pool)
    other = write_pool(tmp_path / "other", n=40, seed=5)
    (other / "part-000.parquet").rename(pool / "part-000a.parquet")  # between the others
    CALLS.clear()
    kept = embed(pool).embeddings
    assert CALLS["items"] == 40 + 1 and len(kept) == 160
    np.testing.assert_allclose(kept.read_span(0, 160), Halves().load({}).encode(pixels(pool)), rtol=1e-6)


def test_another_encoder_or_pool_has_other_vectors(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    first = embed(pool).embeddings
    other = embed(pool, encoder=Halves(weight=2.0)).embeddings
    np.testing.assert_allclose(other.read_span(0, 120), 2 * first.read_span(0, 120), rtol=1e-6)
    assert first.folder != other.folder
    write_pool(pool, seed=9)  # in place
    CALLS.clear()
    embed(pool)
    assert CALLS["items"] == 120 + 1


def test_half_a_file_is_computed_again_and_a_changed_one_refused(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    kept = embed(pool).embeddings
    chunks = sorted(kept.folder.glob("*/*.npy"))
    (index,) = kept.folder.glob("*/index.json")
    content = chunks[1].read_bytes()
    index.unlink()
    chunks[1].write_bytes(content[:100])
    CALLS.clear()
    embeddings._index.cache_clear()
    embeddings._crc32.cache_clear()
    embed(pool)
    assert CALLS["items"] == 32 + 1 and chunks[1].read_bytes() == content
    chunks[1].write_bytes(content[:-4] + b"\0\0\x80?")
    embeddings._crc32.cache_clear()
    with pytest.raises(DataError, match=rf"{chunks[1].name} have changed or are damaged; remove the folder"):
        embed(pool)
    index.write_text("{")
    embeddings._index.cache_clear()
    with pytest.raises(DataError, match=r"index\.json is damaged"):
        embed(pool)


@pytest.mark.ray
def test_ray_computes_the_same_vectors(tmp_path: Path, ray_session: None) -> None:
    pool = write_pool(tmp_path / "pool", files=3)
    serial = embed(pool).embeddings.read_span(0, 120)
    with RayEngine(batch=16, actors=2).open() as session:
        on_ray = embed_pool(session, Pool.open(pool), Halves(), tmp_path / "other", SHAPE)
    np.testing.assert_array_equal(on_ray.embeddings.read_span(0, 120), serial)


@pytest.mark.long
@pytest.mark.parametrize("name", ["logistic_regression", "linear_svm"])
def test_rounds_touch_no_image_and_choose_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    pool, test = write_pool(tmp_path / "pool"), write_pool(tmp_path / "test", n=40, seed=3)
    encoder = {"name": f"{__name__}:Halves"}
    sections = {
        "pool": {"test": str(test)},
        "model": {"name": name, "encoder": encoder},
        "strategy": "margin",
        "explainer": None,
    }
    load, loads = images.load, Counter[str]()
    monkeypatch.setattr(Halves, "kept", False)
    run_experiment(small(pool, **sections), tmp_path / "plain", QUIET)
    monkeypatch.setattr(Halves, "kept", True)
    run_experiment(small(pool, **sections), tmp_path / "first", QUIET)

    def counted(payload: bytes, mode: str | None = None) -> Any:
        loads["images"] += 1
        return load(payload, mode)

    monkeypatch.setattr(images, "load", counted)
    rounds = small(pool, **sections, budget={"rounds": 1})
    run_experiment(rounds, tmp_path / "one", QUIET)
    once = loads.pop("images")
    run_experiment(small(pool, **sections), tmp_path / "two", QUIET)
    assert loads["images"] == once  # of the trial before round 0, and of no round
    assert outcome(only_run(tmp_path / "first")) == outcome(only_run(tmp_path / "two"))
    plain, kept = outcome(only_run(tmp_path / "plain")), outcome(only_run(tmp_path / "first"))
    assert [item[:3] for item in plain[0]] == [item[:3] for item in kept[0]]  # type: ignore[index]
