"""1,000 real images and a trained network: how the images go through it changes nothing beyond rounding."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from xal.core.threads import threads
from xal.data.images import decode
from xal.datasets.demo import demo_pool
from xal.engine import RayEngine, SerialEngine
from xal.engine.coordinator import Coordinator
from xal.engine.tasks import ModelRef
from xal.explainers.ebano import Ebano
from xal.models import TorchClassifier
from xal.models.torch.convnet import Convnet
from xal.models.torch.training import Examples, fit
from xal.models.train_settings import TrainSettings
from xal.types import Explanations

ROWS = np.arange(0, 8000, 8)
NEEDS = frozenset({"explanations"})


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """As engines do."""
    with threads(1):
        yield


@pytest.fixture(scope="module")
def images() -> Tensor:
    payloads = demo_pool().read(ROWS, ["image"])["image"].to_pylist()
    return torch.from_numpy(decode(payloads, (1, 28, 28))[0])


@pytest.fixture(scope="module")
def classifier(images: Tensor) -> TorchClassifier:
    pool, model = demo_pool(), Convnet()
    labels = torch.tensor([pool.classes.index(label) for label in pool.read(ROWS, ["label"])["label"].to_pylist()])
    everything = Examples(images=images, labels=labels)
    nothing = Examples(images=images[:0], labels=labels[:0])
    module = model.create((1, 28, 28), 10, seed=0)
    fit(model, module, everything, nothing, TrainSettings(epochs=5), seed=0)
    return TorchClassifier(model, module)


def compared(one: Explanations, other: Explanations) -> tuple[int, float, float, float]:
    """(images with other masks; of the rest: the largest differences of nPIR, of nPIRP, and of nPIRP where it is weak).

    nPIRP compares A with B. Where a feature changes no probability (weak: |nPIR| < 0.01) both are close to rounding.
    """
    same = (one.n_features == other.n_features) & (one.segments == other.segments).all((1, 2))
    npir, npirp = (np.abs(getattr(one, name)[same] - getattr(other, name)[same]) for name in ("npir", "npirp"))
    weak = np.abs(one.npir[same]) < 0.01
    return (
        int((~same).sum()),
        float(np.nanmax(npir)),
        float(np.nanmax(npirp[~weak])),
        float(np.nanmax(npirp[weak], initial=0.0)),
    )


@pytest.fixture(scope="module")
def usual(images: Tensor, classifier: TorchClassifier) -> Explanations:
    return Ebano().explain(classifier, images)


@pytest.mark.parametrize("micro_batch", [1, 37, 1000])
def test_micro_batches(
    images: Tensor,
    classifier: TorchClassifier,
    usual: Explanations,
    micro_batch: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Ebano().check(usual)
    assert (usual.npir[np.arange(1000), usual.top_feature] > 0.05).mean() > 0.3  # the network reacts
    moved, npir, npirp, weak = compared(usual, Ebano(micro_batch=micro_batch).explain(classifier, images))
    with capsys.disabled():
        print(
            f"\nmicro-batches of {micro_batch}: {moved} of 1000 images have other masks; nPIR differs by {npir:.1e}, "
            f"nPIRP by {npirp:.1e}, by {weak:.1e} where |nPIR| < 0.01"
        )
    assert moved <= 1
    assert npir <= 1e-4 and npirp <= 1e-4
    assert weak <= 0.05


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
def test_engines_batches_and_actors(
    classifier: TorchClassifier, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file(classifier.module.state_dict(), tmp_path / "model.safetensors")
    ref = ModelRef(
        model=Convnet(), weights=tmp_path / "model.safetensors", version="1", shape=(1, 28, 28), n_classes=10
    )
    found = {}
    for name, engine in {
        "serial, batches of 256": SerialEngine(),
        "serial, batches of 100": SerialEngine(batch=100),
        "Ray, 1 actor": RayEngine(actors=1),
        "Ray, 3 actors": RayEngine(actors=3),
    }.items():
        with engine.open() as session:
            coordinator = Coordinator(
                session=session, pool=demo_pool(), shape=(1, 28, 28), model=ref, explainer=Ebano()
            )
            evidence = coordinator.collect(ROWS, NEEDS, "test")
            assert evidence is not None and evidence.explanations is not None
            found[name] = evidence.explanations
    first, *others = found
    for name in others:
        moved, npir, npirp, weak = compared(found[first], found[name])
        with capsys.disabled():
            print(f"\n{name}: {moved} of 1000 images have other masks, indices differ by {max(npir, npirp, weak):.1e}")
        assert moved <= 1 and max(npir, npirp) <= 1e-4 and weak <= 0.05
    assert compared(found["Ray, 1 actor"], found["Ray, 3 actors"]) == (0, 0.0, 0.0, 0.0)
