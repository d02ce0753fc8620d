"""Training on Ray Train workers with DDP: the same job as in process."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from tests.recipes import CLASSES, write_pool
from xal.data.pool import Pool
from xal.engine import RayEngine, SerialEngine
from xal.engine.correction_targets import write_correction_targets
from xal.engine.training_job import TrainJob
from xal.feedback import Feedback
from xal.feedback.cali_ranking import CaliRanking
from xal.feedback.rrr import Rrr
from xal.feedback.rrr_gradcam import RrrGradCam
from xal.models.model import Model
from xal.models.torch.convnet import Convnet
from xal.models.torch.senn import Senn
from xal.models.train_settings import TrainSettings
from xal.store.artefacts import write_items
from xal.types import Correction


def job(folder: Path) -> TrainJob:
    table = Pool.open(write_pool(folder / "pool", n=64)).read(np.arange(64), ["id", "image", "label"])
    write_items(folder / "items.parquet", table)
    labels = zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True)
    return TrainJob(
        model=Convnet(filters=4, hidden=8),
        shape=(1, 12, 12),
        n_classes=3,
        item_files=(folder / "items.parquet",),
        labels={item: CLASSES.index(label) for item, label in labels},
        holdout=frozenset(f"item-{i:04d}" for i in range(0, 64, 4)),
        settings=TrainSettings(epochs=3, batch_size=16, optimizer="sgd", lr=0.05, threads=1),
        seed=3,
    )


@pytest.mark.ray
def test_ray_in_process_gives_the_serial_weights(tmp_path: Path, ray_session: None) -> None:
    with SerialEngine().open() as session:
        one = session.train(job(tmp_path), tmp_path / "serial.safetensors")
    with RayEngine(actors=1).open() as session:
        other = session.train(job(tmp_path), tmp_path / "ray.safetensors")
    assert one == other
    assert (tmp_path / "serial.safetensors").read_bytes() == (tmp_path / "ray.safetensors").read_bytes()


def applied(folder: Path, feedback: Feedback, model: Model) -> TrainJob:
    """The same with every second item corrected in its upper half."""
    plain = job(folder)
    half = np.arange(144).reshape(12, 12) < 72
    corrected = list(plain.labels)[::2]
    corrections = dict.fromkeys(corrected, Correction(wrong=tuple(range(72))))
    write_correction_targets(folder / "correction_targets.parquet", corrections, dict.fromkeys(corrected, half), {})
    settings = replace(plain.settings, lr=0.01)
    return replace(
        plain,
        model=model,
        feedback=feedback,
        correction_targets=folder / "correction_targets.parquet",
        settings=settings,
    )


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        job,
        lambda folder: applied(folder, Rrr(), Convnet(filters=4, hidden=8)),
        lambda folder: applied(folder, RrrGradCam(), Convnet(filters=4, hidden=8)),
        lambda folder: applied(folder, CaliRanking(variant="squared"), Senn(of="image", layers=2, width=8, alpha=0.05)),
    ],
    ids=["labels", "rrr", "rrr_gradcam", "cali_ranking"],
)
def test_two_workers_average_their_gradients(
    tmp_path: Path, ray_session: None, make: Callable[[Path], TrainJob]
) -> None:
    """48 items in batches of 16 on two workers of 8: the mean of two means is the mean, so the weights agree."""
    given = make(tmp_path)
    with SerialEngine().open() as session:
        one = session.train(given, tmp_path / "serial.safetensors")
    with RayEngine(actors=1, actor_cpus=0, train_workers=2, train_cpus=1).open() as session:
        other = session.train(given, tmp_path / "two.safetensors")
    assert other["train_items"] == one["train_items"] == 48
    expected, found = load_file(tmp_path / "serial.safetensors"), load_file(tmp_path / "two.safetensors")
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].numpy(), value.numpy(), atol=1e-5)
