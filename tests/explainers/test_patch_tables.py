"""Masked images by table against the network itself on composed images."""

import numpy as np
import pytest
import torch
from torch import nn

from xal.explainers.masking import MaskedPatches, mask_items
from xal.models import TorchClassifier
from xal.models.torch.convnet import Convnet
from xal.models.torch.model import TorchModel
from xal.models.torch.resnet import ResNet
from xal.types import Shape


class Deeper(TorchModel):
    """Two convolutions, one with padding, another with a stride."""

    def build(self, shape: Shape, n_classes: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(shape[0], 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 2, stride=2), nn.Tanh(),
            nn.Flatten(), nn.Linear(5 * (shape[1] // 2) * (shape[2] // 2), 9), nn.ReLU(), nn.Linear(9, n_classes),
        )  # fmt: skip


SMALL = Convnet(filters=3, hidden=7)


@pytest.mark.parametrize("mask_value", ["blur", "black"])
@pytest.mark.parametrize("output", ["probability", "margin"])
@pytest.mark.parametrize(
    ("model", "shape", "patches"),
    [(SMALL, (1, 28, 28), 7), (SMALL, (3, 20, 26), 4), (Deeper(), (3, 24, 16), 4)],
)  # fmt: skip
def test_the_same_outputs(model: TorchModel, shape: Shape, patches: int, output: str, mask_value: str) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (70, *shape), generator=generator, dtype=torch.uint8)
    classifier = TorchClassifier(model, model.create(shape, 4, seed=0))
    masked = mask_items(classifier, images, output, patches=patches, mask_value=mask_value)
    assert isinstance(masked, MaskedPatches) and masked._tables is not None
    items = np.random.default_rng(0).integers(0, 70, 300)
    masks = np.random.default_rng(1).random((300, patches * patches)) < 0.5
    masks[0], masks[1] = False, True
    found = masked.value(items, masks)
    masked._tables = None
    np.testing.assert_allclose(found, masked.value(items, masks), atol=2e-5)
    assert np.ptp(found[:, 0]) > 1e-3


def test_other_networks_and_finer_grids_go_the_long_way() -> None:
    images = torch.zeros(1, 1, 28, 28)
    resnet = ResNet(width=4)
    classifier = TorchClassifier(resnet, resnet.create((1, 28, 28), 3, seed=0))
    assert mask_items(classifier, images, "probability")._tables is None  # type: ignore[attr-defined]
    convnet = Convnet(filters=3, hidden=7)
    classifier = TorchClassifier(convnet, convnet.create((1, 28, 28), 3, seed=0))
    assert mask_items(classifier, images, "probability", patches=28)._tables is None  # type: ignore[attr-defined]
    assert mask_items(classifier, images, "probability", patches=14)._tables is not None  # type: ignore[attr-defined]


class Standardised(Convnet):
    """Looks at the whole image before the first layer."""

    def preprocess(self, images: torch.Tensor) -> torch.Tensor:
        return (images - images.mean(dim=(1, 2, 3), keepdim=True)) / images.std(dim=(1, 2, 3), keepdim=True)


def test_a_preprocess_of_whole_images_is_not_tabled() -> None:
    model = Standardised(filters=3, hidden=7)
    images = torch.randint(0, 256, (4, 1, 28, 28), dtype=torch.uint8)
    masked = mask_items(TorchClassifier(model, model.create((1, 28, 28), 4, seed=0)), images, "probability")
    assert isinstance(masked, MaskedPatches) and masked._tables is None
