"""torchvision's ResNets by name, with random weights, a local file's, or torchvision's own download."""

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

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, red, green, blue, of 0-1


@dataclass(frozen=True, kw_only=True)
class Torchvision(TorchModel, name="torchvision"):
    """A torchvision ResNet; inputs are normalised with the ImageNet mean and standard deviation."""

    default_strategy: ClassVar[str] = "ebano_uncertainty"

    channels: Literal[1, 3] | None = 3
    architecture: Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"] = "resnet18"
    weights: str | None = None
    """null: random; a path to .safetensors or .pth with torchvision's key names; or a torchvision
    name such as IMAGENET1K_V1, which is downloaded. A head of another width starts anew."""

    @property
    def default_explainer(self) -> str:
        """EBAnO reads its convolutions."""
        return "ebano"

    def build(self, shape: Shape, n_classes: int) -> nn.Module:
        """Raises XalError for other than 3 channels, DataError for weights that do not load."""
        models = _models()

        if shape[0] != 3:
            raise XalError(f"{self.architecture} takes 3 channels, got {shape[0]}; set model.channels: 3")
        module: nn.Module = models.get_model(self.architecture, weights=None, num_classes=n_classes)
        if self.weights is not None:
            self._load(module, self._state(self.weights))
        return module

    def untrained(self) -> TorchModel:
        """Without `weights`."""
        return replace(self, weights=None)

    def preprocess(self, images: Tensor) -> Tensor:
        """0-255 -> [0, 1] -> normalised."""
        mean, deviation = (torch.tensor(each, device=images.device)[:, None, None] * 255 for each in (MEAN, DEVIATION))
        return (images.to(torch.float32) - mean) / deviation

    def _state(self, weights: str) -> dict[str, Tensor]:
        models = _models()

        path = Path(weights)
        if path.is_file():
            from safetensors.torch import load_file  # only where a file is named

            try:
                if path.suffix == ".safetensors":
                    return load_file(path)
                loaded = torch.load(path, map_location="cpu", weights_only=True)
                return dict(loaded.get("state_dict", loaded))
            except Exception as error:  # safetensors, zip and pickle each raise their own
                raise DataError(
                    f"model.weights: '{weights}' holds no weights ({type(error).__name__}); expected the state_dict of "
                    f"a torchvision {self.architecture} as .safetensors or .pth"
                ) from error
        if path.suffix or len(path.parts) > 1:
            raise DataError(f"model.weights: no file '{weights}'")
        known = models.get_model_weights(self.architecture)
        if weights not in known.__members__:
            raise DataError(f"model.weights: '{weights}' is no file and not one of {', '.join(known.__members__)}")
        try:
            return dict(known[weights].get_state_dict(progress=False, check_hash=True))
        except (URLError, OSError, RuntimeError) as error:
            raise DataError(
                f"model.weights: download of {self.architecture} {weights} failed ({error}); "
                "fetch the file elsewhere and give its path"
            ) from error

    @staticmethod
    def _load(module: nn.Module, state: dict[str, Tensor]) -> None:
        own = module.state_dict()
        for key in ("fc.weight", "fc.bias"):
            if key in state and state[key].shape != own[key].shape:
                state[key] = own[key]
        other = [key for key in own.keys() & state.keys() if state[key].shape != own[key].shape]
        if other:
            raise DataError(
                f"model.weights: {len(other)} shapes differ, e.g. {min(other)} is {tuple(state[min(other)].shape)}, "
                f"expected {tuple(own[min(other)].shape)}; is it another architecture's file?"
            )
        missing, unexpected = module.load_state_dict(state, strict=False)
        if missing or unexpected:
            raise DataError(
                f"model.weights: {len(missing)} keys missing, {len(unexpected)} unknown, e.g. "
                f"{', '.join([*missing, *unexpected][:4])}; expected torchvision's key names"
            )


def _models() -> Any:
    """torchvision's models; they take seconds to import, so only where they are used."""
    return require("torchvision.models", "vision", "model 'torchvision'")
