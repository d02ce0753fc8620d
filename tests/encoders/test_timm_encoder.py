"""Networks of timm against timm's own forward pass, and errors of names and weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from xal.encoders.timm_encoder import TimmEncoder
from xal.errors import ConfigError, DataError

timm = pytest.importorskip("timm")


def saved(folder: Path, architecture: str, classes: int = 1000) -> tuple[torch.nn.Module, str]:
    torch.manual_seed(0)
    network = timm.create_model(architecture, num_classes=classes).eval()
    save_file(network.state_dict(), folder / "weights.safetensors")
    return network, str(folder / "weights.safetensors")


@pytest.mark.parametrize(
    ("architecture", "size"), [("test_vit.r160_in1k", 160), ("test_resnet.r160_in1k", 160), ("test_vit.r160_in1k", 96)]
)
def test_vectors_are_what_enters_timms_head(tmp_path: Path, architecture: str, size: int) -> None:
    network, weights = saved(tmp_path, architecture)
    encoder = TimmEncoder(architecture=architecture, weights=weights, size=None if size == 160 else size)
    assert encoder.input_shape == (3, size, size)
    if size != 160:
        network.set_input_size(img_size=size)
    images = np.random.default_rng(0).integers(0, 256, (2, 3, size, size), np.uint8)
    config = timm.get_pretrained_cfg(architecture)
    mean, std = (torch.tensor(values)[:, None, None] for values in (config.mean, config.std))
    with torch.no_grad():
        pixels = (torch.from_numpy(images) / 255 - mean) / std
        expected = network.forward_head(network.forward_features(pixels), pre_logits=True)
    np.testing.assert_allclose(encoder.load({}).vectors(images), expected, rtol=1e-3, atol=1e-3)


def test_names_and_weights_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="encoder.architecture: timm has no 'resnet5' .*resnet50"):
        TimmEncoder(architecture="resnet5").load({})
    _, weights = saved(tmp_path, "test_vit.r160_in1k")
    with pytest.raises(DataError, match="encoder.weights: .*keys missing.*unknown|shapes differ"):
        TimmEncoder(architecture="test_resnet.r160_in1k", weights=weights).load({})
    with pytest.raises(DataError, match="encoder.weights: no file 'absent.pth'"):
        TimmEncoder(architecture="test_vit.r160_in1k", weights="absent.pth").load({})


def test_weights_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TimmEncoder(architecture="test_vit.r160_in1k")
    assert encoder.download is not None and "timm/test_vit.r160_in1k" in encoder.download

    def refuse(*_args, **settings):
        if settings.get("pretrained"):
            raise OSError("Network is unreachable")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(DataError, match="download of timm's test_vit.r160_in1k failed .*unreachable.*give its path"):
        encoder.load({})
