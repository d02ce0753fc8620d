"""Frozen networks that turn images into vectors: embed a pool once, train a small head each round.

The vector of an image is what enters the network's classification head, as in the linear probes of Alain & Bengio 2016.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from xal.core import imports
from xal.core._typing import Field
from xal.encoders.encoder import Encoder, Encoding, State
from xal.encoders.frozen import digest_of_weights, loaded_once
from xal.encoders.torchvision_weights import (
    DEVIATION,
    MEAN,
    last_linear,
    load_weights,
    read_weights,
    to_download,
    torchvision_models,
)
from xal.errors import ConfigError, XalError
from xal.types import Kind, Shape

FIELD = "encoder.weights"
PIXELS = {"cpu": 16 * 224**2, "cuda": 256 * 224**2}  # of the images of a forward pass; more are slower on a CPU


@dataclass(frozen=True)
class Preprocessing:
    """How images are prepared: pixels a side, mean and standard deviation of each channel on a scale of 0-1."""

    size: int = 224
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = DEVIATION


class Backbone(Encoding):
    """A frozen network on a device."""

    def __init__(self, module: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        self.module: nn.Module = module.to(memory_format=torch.channels_last).eval()
        self.module.requires_grad_(False)
        self._mean, self._std = (torch.tensor(rgb)[:, None, None] * 255 for rgb in (mean, std))

    def to(self, device: torch.device | str) -> Backbone:
        """Move the network to a device."""
        self.device = torch.device(device)
        with torch.inference_mode(False):
            self.module.to(self.device)
        self._mean, self._std = self._mean.to(self.device), self._std.to(self.device)
        return self

    def preprocess(self, images: Any) -> Tensor:
        """(b, c, h, w) images 0-255 as float32, normalised by the mean and standard deviation of each channel."""
        tensor = torch.as_tensor(images).to(self.device)
        return (tensor.float() - self._mean) / self._std

    def tensors(self, images: Any) -> Tensor:
        """(b, d) vectors on the device; gradients flow to images that require them."""
        vectors: Tensor = self.module(self.preprocess(images))
        return vectors.flatten(1)

    def encode(self, texts: Any) -> npt.NDArray[np.float32]:
        """(b, d) vectors of (b, c, h, w) images 0-255."""
        pixels = math.prod(texts.shape[2:])
        at_once = max(1, PIXELS.get(self.device.type, PIXELS["cpu"]) // pixels)
        with torch.inference_mode():
            parts = [self.tensors(part).float().cpu() for part in torch.as_tensor(texts).split(at_once)]
        return torch.cat(parts).numpy()

    @cached_property
    def digest(self) -> str:
        """16 hex digits of the network's weights."""
        return digest_of_weights(self.module)


@dataclass(frozen=True, kw_only=True)
class ImageEncoder(Encoder):
    """Base class of the encoders of images. Your own only needs `module`: float images (b, c, h, w) -> (b, d)."""

    kept: ClassVar[bool] = True

    size: Annotated[int, Field(ge=8)] | None = None
    """Images are resized to size x size pixels; null: as the network's weights expect, else 224."""
    channels: Literal[1, 3] = 3
    """3 for RGB, which grey images are turned into; 1 for grey."""
    mean: tuple[float, ...] | None = None
    """Mean of each channel in the data that the network was trained on, on a scale of 0-1; subtracted. null: as the
    weights expect, else ImageNet's."""
    std: tuple[float, ...] | None = None
    """Standard deviation of each channel, on a scale of 0-1; divided by. null: as `mean`."""

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            numbers = getattr(self, name)
            if numbers is not None and len(numbers) != self.channels:
                raise ConfigError([f"encoder.{name}: expected {self.channels} numbers, got {len(numbers)}"])
        if self.std is not None and not all(self.std):
            raise ConfigError(["encoder.std: expected numbers other than 0"])

    def expected(self) -> Preprocessing:
        """What the weights were trained with; the settings above replace it."""
        return Preprocessing()

    @property
    def preprocessing(self) -> Preprocessing:
        """Size, mean and standard deviation of the images that the network takes.

        Raises ConfigError if the number of channels is another than that of `mean` and `std`.
        """
        expected = self.expected()
        found = Preprocessing(self.size or expected.size, self.mean or expected.mean, self.std or expected.std)
        for name, numbers in (("mean", found.mean), ("std", found.std)):
            if len(numbers) != self.channels:
                raise ConfigError([f"encoder.{name}: expected {self.channels} numbers for {self.channels} channel"])
        return found

    @property
    def kind(self) -> Kind:
        """`image`."""
        return "image"

    @property
    def provides(self) -> frozenset[str]:
        """`conv_layers`, and `gradients` of vectors by images."""
        return frozenset({"conv_layers", "gradients"})

    @property
    def input_shape(self) -> Shape:
        """(c, h, w) of the images that it takes."""
        size = self.preprocessing.size
        return (self.channels, size, size)

    @abstractmethod
    def module(self) -> nn.Module:
        """The network with its weights, without its classification head."""

    def load(self, state: State) -> Backbone:
        """The network on the CPU, loaded once per process."""
        return loaded_once(self, self._load)

    def _load(self) -> Backbone:
        # engines predict in inference mode, whose tensors have no gradients, and the network is kept for explainers
        with torch.random.fork_rng(), torch.inference_mode(False):
            torch.manual_seed(0)  # of layers without stored weights
            preprocessing = self.preprocessing
            return Backbone(self.module(), preprocessing.mean, preprocessing.std)

    @property
    def weights_digest(self) -> str:
        """Of the network's state."""
        return self.load({}).digest


@dataclass(frozen=True, kw_only=True)
class TorchvisionEncoder(ImageEncoder, name="torchvision"):
    """A classification network of torchvision without its last linear layer; inputs normalised as for ImageNet."""

    architecture: str = "resnet50"
    """torchvision's name of the network, such as resnet50, efficientnet_b0 or vit_b_16."""
    weights: str
    """A .safetensors or .pth file with torchvision's key names, or torchvision's name, such as IMAGENET1K_V2, which is
    downloaded."""

    @property
    def download(self) -> str | None:
        """The weights, if they have torchvision's name and are not in torch's cache."""
        return to_download(self.architecture, self.weights, FIELD)

    def expected(self) -> Preprocessing:
        """As torchvision's weights of that name; for a file, as its default weights of the architecture."""
        available = self._models().get_model_weights(self.architecture)
        preset = available.__members__.get(self.weights, available.DEFAULT).transforms()
        return Preprocessing(preset.crop_size[0], tuple(preset.mean), tuple(preset.std))

    def _models(self) -> Any:
        models = torchvision_models("encoder 'torchvision'")
        known = models.list_models(module=models)
        if self.architecture not in known:
            raise ConfigError([f"encoder.architecture: '{self.architecture}' is none of {', '.join(known)}"])
        return models

    def module(self) -> nn.Module:
        """Raises ConfigError for an unknown network, DataError for weights that do not fit."""
        models = self._models()
        module: nn.Module = models.get_model(self.architecture, weights=None)
        load_weights(module, read_weights(self.architecture, self.weights, FIELD), FIELD)
        head = last_linear(module)
        if not head:
            raise ConfigError([f"encoder.architecture: '{self.architecture}' has no linear layer; choose another"])
        module.set_submodule(head, nn.Identity())
        return module


@dataclass(frozen=True, kw_only=True)
class TorchEncoder(ImageEncoder, name="torch"):
    """A frozen torch module that your own function makes."""

    factory: str
    """`module:name` of a function, or class, that takes `settings` and returns a torch module with its weights: float
    images (b, c, h, w), normalised by `mean` and `std` -> vectors (b, d)."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Further arguments, as plain numbers and strings."""

    def module(self) -> nn.Module:
        """Call the factory; raises XalError if it cannot be imported, fails, or returns something else."""
        try:
            module = imports.attribute(self.factory)(**self.settings)
        except Exception as error:  # a user's code may raise anything
            raise XalError(f"encoder.factory '{self.factory}' failed: {error}") from error
        if not isinstance(module, nn.Module):
            raise XalError(f"encoder.factory '{self.factory}' returned {type(module).__name__}, not a torch module")
        return module
