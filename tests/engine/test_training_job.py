"""Training sets in a file: the same weights as in memory, synthetic items, holdout and validation pool included."""

import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.recipes import CLASSES, QUIET, only_run, small, write_pool
from xal.campaign.experiment import run_experiment
from xal.data.pool import Pool
from xal.engine import training_job
from xal.engine.training_job import TrainJob
from xal.models.stored_images import StoredImages
from xal.models.torch.convnet import Convnet
from xal.models.train_settings import TrainSettings
from xal.store import artefacts
from xal.store.artefacts import ITEMS, WEIGHTS, read_weights, write_parts, write_synthetic

SHAPE = (1, 12, 12)


def job(folder: Path, **changed) -> TrainJob:
    """100 labelled images in two files, of which 20 are held out, and 10 synthetic ones."""
    pool = Pool.open(write_pool(folder / "pool"))
    table = pool.read_span(0, 100, ["id", "image", "label"])
    items = table.drop_columns(["label"]).append_column("row", pa.array(np.arange(100)))
    write_parts(folder / "first.parquet", iter([items.slice(0, 40), items.slice(40, 30)]))
    write_parts(folder / "second.parquet", iter([items.slice(70)]))
    ids = table["id"].to_pylist()
    labels = [CLASSES.index(label) for label in table["label"].to_pylist()]
    write_synthetic(
        folder / "synthetic.parquet",
        "image",
        table["image"].slice(0, 10).combine_chunks(),
        sources=ids[:10],
        labels=table["label"].to_pylist()[:10],
        classes=labels[:10],
        weight=0.5,
    )
    given = TrainJob(
        model=Convnet(filters=4, hidden=8),
        shape=SHAPE,
        n_classes=3,
        item_files=(folder / "first.parquet", folder / "second.parquet"),
        labels=dict(zip(ids, labels, strict=True)),
        holdout=frozenset(ids[3:23]),
        settings=TrainSettings(epochs=2, batch_size=16, threads=2, flip=True),
        seed=1,
        synthetic=(folder / "synthetic.parquet",),
    )
    return replace(given, **changed)


@pytest.mark.parametrize("held_out", [True, False])
def test_weights_are_the_same_from_a_file(tmp_path: Path, monkeypatch, held_out: bool) -> None:
    monkeypatch.setattr(artefacts, "SMALL", 0)  # as large files are read
    monkeypatch.setattr(artefacts, "BATCH_ROWS", 33)
    changed = {}
    if not held_out:
        validation = Pool.open(write_pool(tmp_path / "validation", n=50, seed=4))
        changed = {"validation": validation, "class_index": {name: i for i, name in enumerate(CLASSES)}}
    given = job(tmp_path, **changed)
    written = []
    write = StoredImages.write
    monkeypatch.setattr(StoredImages, "write", lambda *args: written.append(args[-1]) or write(*args))
    metrics = given.run(tmp_path / "memory.safetensors", device="cpu")
    assert not written
    monkeypatch.setattr(training_job, "MEGABYTE", 1)
    stored = replace(given, memory_mb=1).run(tmp_path / "file.safetensors", device="cpu")
    assert written == ([110] if held_out else [110, 50])
    assert stored == metrics and metrics["train_items"] == 80 and metrics["synthetic_items"] == 10
    one, other = (read_weights(tmp_path / f"{name}.safetensors") for name in ("memory", "file"))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert not list(Path(tempfile.gettempdir()).glob("xal-images-*/*"))


def test_a_campaign_trains_from_a_file(tmp_path: Path, monkeypatch) -> None:
    pool = write_pool(tmp_path / "pool")
    run_experiment(small(pool), tmp_path / "memory", QUIET)
    monkeypatch.setattr(training_job, "MEGABYTE", 1)
    run_experiment(small(pool, engine={"train_memory_mb": 1}), tmp_path / "file", QUIET)
    one, other = (only_run(tmp_path / name) for name in ("memory", "file"))
    for round in range(3):
        weights = [read_weights(run.directory / run.of("train")[round].artefact / WEIGHTS) for run in (one, other)]
        assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
        items = [run.directory / run.of("query")[round].artefact / ITEMS for run in (one, other)]
        assert items[0].read_bytes() == items[1].read_bytes()


def test_a_linear_probe_and_then_fine_tuning(tmp_path: Path) -> None:
    """In the first two rounds only the head differs; the third starts from it and trains all weights."""
    pool = write_pool(tmp_path / "pool")
    train = {"head_only_rounds": 2, "start": "finetune"}
    run_experiment(small(pool, train=train, strategy="margin", explainer=None), tmp_path / "runs", QUIET)
    run = only_run(tmp_path / "runs")
    rounds = [read_weights(run.directory / run.of("train")[round].artefact / WEIGHTS) for round in range(3)]
    differ = [{name for name in one if not np.array_equal(one[name], other[name])} for one, other in pairwise(rounds)]
    assert len(differ[0]) == 2 and differ[0] < differ[1] == set(rounds[0])
