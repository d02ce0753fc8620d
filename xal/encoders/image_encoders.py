"""Frozen networks that turn images into vectors: embed a pool once, train a small head each round.

The vector of an image is what enters the network's classification head, as in the linear probes of Alain & Bengio 2016.
"""

from __future__ import annotations

import hashlib
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


class Backbone(Encoding):
    """A frozen network on a device."""

    def __init__(self, module: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        self.module: nn.Module = module.to(memory_format=torch.channels_last).eval()
        self.module.requires_grad_(False)
        self._mean, self._std = (torch.tensor(rgb)[:, None, None] * 255 for rgb in (mean, std))

    def to(self, device: torch.device | str) -> Backbone:
        """Move the network to a device."""
        self.device = torch.device(device)
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
        with torch.inference_mode():
            return self.tensors(texts).float().cpu().numpy()

    @cached_property
    def digest(self) -> str:
        """16 hex digits of the network's weights."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.module.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class ImageEncoder(Encoder):
    """Base class of the encoders of images. Your own only needs `module`: float images (b, c, h, w) -> (b, d)."""

    kind: ClassVar[Kind] = "image"

    kept: ClassVar[bool] = True

    size: Annotated[int, Field(ge=8)] = 224
    """Images are resized to size x size pixels."""
    channels: Literal[1, 3] = 3
    """3 for RGB, which grey images are turned into; 1 for grey."""
    mean: tuple[float, ...] = MEAN
    """Mean of each channel in the data that the network was trained on, on a scale of 0-1; subtracted."""
    std: tuple[float, ...] = DEVIATION
    """Standard deviation of each channel, on a scale of 0-1; divided by."""

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            if len(getattr(self, name)) != self.channels:
                raise ConfigError([f"encoder.{name}: expected {self.channels} numbers, got {len(getattr(self, name))}"])
        if not all(self.std):
            raise ConfigError(["encoder.std: expected numbers other than 0"])

    @property
    def provides(self) -> frozenset[str]:
        """`conv_layers`."""
        return frozenset({"conv_layers"})

    @property
    def input_shape(self) -> Shape:
        """(c, h, w) of the images that it takes."""
        return (self.channels, self.size, self.size)

    @abstractmethod
    def module(self) -> nn.Module:
        """The network with its weights, without its classification head."""

    def load(self, state: State) -> Backbone:
        """The network on the CPU, loaded once per process."""
        key = repr(self)
        if key not in _loaded:
            while len(_loaded) >= MOST_LOADED:
                _loaded.pop(next(iter(_loaded)))
            with torch.random.fork_rng():
                torch.manual_seed(0)  # of layers without stored weights
                _loaded[key] = Backbone(self.module(), self.mean, self.std)
        return _loaded[key]

    @property
    def weights_digest(self) -> str:
        """Of the network's state."""
        return self.load({}).digest


MOST_LOADED = 2
_loaded: dict[str, Backbone] = {}


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

    def module(self) -> nn.Module:
        """Raises ConfigError for an unknown network, DataError for weights that do not fit."""
        models = torchvision_models("encoder 'torchvision'")
        known = models.list_models(module=models)
        if self.architecture not in known:
            raise ConfigError([f"encoder.architecture: '{self.architecture}' is none of {', '.join(known)}"])
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
