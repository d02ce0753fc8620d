"""torchvision's ResNets by name, with weights that are random, read from a local file, or downloaded by torchvision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.error import URLError

import torch
from torch import Tensor, nn

from xal.core.extras import require
from xal.errors import DataError, XalError
from xal.models.torch.model import TorchModel
from xal.types import Shape

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of red, green and blue in ImageNet, on a scale of 0-1


@dataclass(frozen=True, kw_only=True)
class Torchvision(TorchModel, name="torchvision"):
    """A torchvision ResNet; inputs are normalised with the ImageNet mean and standard deviation."""

    default_strategy: ClassVar[str] = "ebano_uncertainty"

    channels: Literal[1, 3] | None = 3
    architecture: Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"] = "resnet18"
    """Which ResNet."""
    weights: str | None = None
    """null: random weights; or a path to .safetensors or .pth with torchvision's key names; or a torchvision name such
    as IMAGENET1K_V1, which is downloaded. A last layer of another width is initialised at random."""

    @property
    def default_explainer(self) -> str:
        """EBAnO, which reads the convolutions."""
        return "ebano"

    @property
    def download(self) -> str | None:
        """The weights, if they have torchvision's name and are not in torch's cache."""
        if self.weights is None or self._is_path(self.weights):
            return None
        named = self._named(self.weights)
        cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(named.url).name
        if cached.exists():
            return None
        return f"{self.architecture} {self.weights}, {named.meta['_file_size']:.0f} MB, to {cached.parent}"

    def build(self, shape: Shape, n_classes: int) -> nn.Module:
        """Raises XalError unless there are 3 channels, DataError if the weights cannot be loaded."""
        models = _models()
        if shape[0] != 3:
            raise XalError(f"{self.architecture} takes 3 channels, got {shape[0]}; set model.channels: 3")
        module: nn.Module = models.get_model(self.architecture, weights=None, num_classes=n_classes)
        if self.weights is not None:
            self._load(module, self._state(self.weights))
        return module

    def untrained(self) -> TorchModel:
        """The same model without `weights`."""
        return replace(self, weights=None)

    def preprocess(self, images: Tensor) -> Tensor:
        """Images 0-255, normalised by ImageNet's mean and standard deviation."""
        mean, deviation = (torch.tensor(rgb, device=images.device)[:, None, None] * 255 for rgb in (MEAN, DEVIATION))
        return (images.to(torch.float32) - mean) / deviation

    def _state(self, weights: str) -> dict[str, Tensor]:
        path = Path(weights)
        if path.is_file():
            from safetensors.torch import load_file

            try:
                if path.suffix == ".safetensors":
                    return load_file(path)
                loaded = torch.load(path, map_location="cpu", weights_only=True)
                return dict(loaded.get("state_dict", loaded))
            except Exception as error:  # safetensors, zip and pickle raise errors of different types
                raise DataError(
                    f"model.weights: '{weights}' holds no weights ({type(error).__name__}); expected the state_dict of "
                    f"a torchvision {self.architecture} as .safetensors or .pth"
                ) from error
        if self._is_path(weights):
            raise DataError(f"model.weights: no file '{weights}'")
        try:
            return dict(self._named(weights).get_state_dict(progress=False, check_hash=True))
        except (URLError, OSError, RuntimeError) as error:
            raise DataError(
                f"model.weights: download of {self.architecture} {weights} failed ({error}); "
                "fetch the file elsewhere and give its path"
            ) from error

    @staticmethod
    def _is_path(weights: str) -> bool:
        path = Path(weights)
        return path.is_file() or bool(path.suffix) or len(path.parts) > 1

    def _named(self, weights: str) -> Any:
        """torchvision's entry for weights of that name."""
        available = _models().get_model_weights(self.architecture)
        if weights not in available.__members__:
            raise DataError(
                f"model.weights: '{weights}' is neither a file nor one of {', '.join(available.__members__)}"
            )
        return available[weights]

    @staticmethod
    def _load(module: nn.Module, state: dict[str, Tensor]) -> None:
        expected = module.state_dict()
        for key in ("fc.weight", "fc.bias"):
            if key in state and state[key].shape != expected[key].shape:
                state[key] = expected[key]
        mismatched = [key for key in expected.keys() & state.keys() if state[key].shape != expected[key].shape]
        if mismatched:
            first = min(mismatched)
            raise DataError(
                f"model.weights: {len(mismatched)} shapes differ, e.g. {first} is {tuple(state[first].shape)}, "
                f"expected {tuple(expected[first].shape)}; is this the file of another architecture?"
            )
        missing, unexpected = module.load_state_dict(state, strict=False)
        if missing or unexpected:
            raise DataError(
                f"model.weights: {len(missing)} keys missing, {len(unexpected)} unknown, e.g. "
                f"{', '.join([*missing, *unexpected][:4])}; expected torchvision's key names"
            )


def _models() -> Any:
    """torchvision.models, imported only when used because the import takes seconds."""
    return require("torchvision.models", "vision", "model 'torchvision'")
