"""The 300 Imagenette validation photos and the ResNet-50 of the data folder, for benchmarks and tests.

Both are in the folder $XAL_DATA, by default ../shared/data (imagenette-val, resnet50-imagenet). This module needs only
numpy, torch, torchvision and Pillow.
"""

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import resnet50

from xal.encoders.image_encoders import ImageEncoder
from xal.models.torch.classifier import TorchClassifier
from xal.models.torch.model import TorchModel
from xal.types import Shape

MEANS = (123.68, 116.779, 103.939)  # red, green, blue, 0-255


def data_folder() -> Path:
    """The folder $XAL_DATA, by default ../shared/data. Raises FileNotFoundError if it has no imagenette-val."""
    folder = Path(os.environ.get("XAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "imagenette-val").is_dir():
        raise FileNotFoundError(f"no imagenette-val in {folder}; set XAL_DATA to the folder that holds it")
    return folder


def load_photos(count: int | None = None) -> tuple[Tensor, Tensor]:
    """Photos, uint8 (n, 3, 224, 224), and their ImageNet class indices (n,), spread evenly over the ten classes."""
    folder = data_folder() / "imagenette-val"
    with (folder / "labels.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    rows = [rows[i] for i in np.linspace(0, len(rows) - 1, count or len(rows)).round().astype(int)]
    images = np.stack([np.asarray(Image.open(folder / "images" / row["file"]).convert("RGB")) for row in rows])
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.tensor(
        [int(row["class_index"]) for row in rows]
    )


@dataclass(frozen=True, kw_only=True)
class PhotoModel(TorchModel):
    """ResNet-50 with the ImageNet weights of the data folder (72.3% top-1 on these photos)."""

    def build(self, shape: Shape, n_classes: int) -> nn.Module:
        """ResNet-50 with the stride in the first 1 x 1 convolution of a stage; torchvision has it in the 3 x 3 one."""
        module = resnet50(num_classes=n_classes)
        for stage in (module.layer2, module.layer3, module.layer4):
            stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
        with np.load(data_folder() / "resnet50-imagenet" / "resnet50_caffe_fp16.npz", allow_pickle=False) as stored:
            state = {name: torch.from_numpy(stored[name].astype(np.float32)) for name in stored.files}
        missing, unexpected = module.load_state_dict(state, strict=False)
        if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
            raise ValueError(f"the stored weights do not fit ResNet-50: missing {missing}, unknown {unexpected}")
        return module

    def preprocess(self, images: Tensor) -> Tensor:
        """Subtract the mean colour; the weights account for channel order and scale."""
        return images.float() - torch.tensor(MEANS, device=images.device)[:, None, None]


def photo_network(device: str = "cpu", **options: Any) -> TorchClassifier:
    """The classifier of the photos, with 1000 classes."""
    model = PhotoModel()
    return TorchClassifier(model, model.create((3, 224, 224), 1000, seed=0), device, **options)


@dataclass(frozen=True, kw_only=True)
class PhotoEncoder(ImageEncoder):
    """The ResNet-50 of the data folder without its head."""

    mean: tuple[float, ...] = tuple(level / 255 for level in MEANS)
    std: tuple[float, ...] = (1 / 255,) * 3

    def module(self) -> nn.Module:
        """The network; its weights account for the scale of the inputs."""
        module: Any = PhotoModel().create((3, 224, 224), 1000, seed=0)
        module.fc = nn.Identity()
        return module
