"""Vision networks of the package timm, without their classification heads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from xal.core.extras import require
from xal.encoders.image_encoders import FIELD, ImageEncoder, Preprocessing
from xal.encoders.torchvision_weights import is_path, load_weights, read_file
from xal.errors import ConfigError, DataError

ARCHITECTURE = "encoder.architecture"


@dataclass(frozen=True, kw_only=True)
class TimmEncoder(ImageEncoder, name="timm"):
    """A network of timm, such as vit_small_patch14_dinov2.lvd142m or convnext_tiny.in12k_ft_in1k."""

    architecture: str
    """timm's name; its tag, behind the dot, names the weights that are downloaded."""
    weights: str | None = None
    """A .safetensors or .pth file with timm's key names; null: timm downloads those that the tag names."""

    @property
    def download(self) -> str | None:
        """The weights, unless they are a file or in Hugging Face's cache."""
        if self.weights is not None:
            return None
        config = self._config()
        hub = require("huggingface_hub", "timm", "encoder 'timm'")
        if config.hf_hub_id and isinstance(hub.try_to_load_from_cache(config.hf_hub_id, "model.safetensors"), str):
            return None
        return f"{self.architecture} from {config.hf_hub_id or config.url}, to {hub.constants.HF_HUB_CACHE}"

    def expected(self) -> Preprocessing:
        """As timm's configuration of the weights says."""
        config = self._config()
        return Preprocessing(config.input_size[-1], tuple(config.mean), tuple(config.std))

    def module(self) -> nn.Module:
        """Raises ConfigError for an unknown network, DataError for weights that cannot be had or do not fit."""
        timm, size = require("timm", "timm", "encoder 'timm'"), self.preprocessing.size
        settings: dict[str, Any] = {"num_classes": 0}
        if self.weights is None:
            try:
                return self._made(timm, {**settings, "pretrained": True}, size)
            except (OSError, RuntimeError) as error:
                raise DataError(
                    f"{FIELD}: download of timm's {self.architecture} failed ({str(error).splitlines()[0]}); fetch the "
                    "file elsewhere and give its path"
                ) from error
        if not is_path(self.weights) or not Path(self.weights).is_file():
            raise DataError(f"{FIELD}: no file '{self.weights}'")
        module = self._made(timm, settings, size)
        heads = self._config().classifier or ()
        heads = (heads,) if isinstance(heads, str) else heads
        state = read_file(self.weights, f"timm's {self.architecture}", FIELD)
        kept = {key: tensor for key, tensor in state.items() if not key.startswith(tuple(f"{head}." for head in heads))}
        load_weights(module, kept, FIELD)
        return module

    def _made(self, timm: Any, settings: dict[str, Any], size: int) -> nn.Module:
        """The network for images of that size; transformers resample their positions, convolutions take any."""
        if size == self._config().input_size[-1]:
            module: nn.Module = timm.create_model(self.architecture, **settings)
            return module
        try:
            module = timm.create_model(self.architecture, dynamic_img_size=True, **settings)
        except TypeError:  # a network without positions
            module = timm.create_model(self.architecture, **settings)
        return module

    def _config(self) -> Any:
        timm = require("timm", "timm", "encoder 'timm'")
        config = timm.get_pretrained_cfg(self.architecture, allow_unregistered=True)
        if config is None or not timm.is_model(self.architecture.partition(".")[0]):
            stem = self.architecture.partition(".")[0].partition("_")[0]
            near = ", ".join(timm.list_models(f"{stem}*")[:8]) or "see timm.list_models()"
            raise ConfigError([f"{ARCHITECTURE}: timm has no '{self.architecture}' ({near})"])
        return config
