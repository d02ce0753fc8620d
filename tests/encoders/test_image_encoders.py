"""Frozen networks as encoders: vectors against torch's own forward pass, and errors for weights that do not fit."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models as torchvision_models

from tests.explainers.trained import trained
from xal.core.config import parse
from xal.encoders import Encoder
from xal.encoders.image_encoders import TorchEncoder, TorchvisionEncoder
from xal.errors import ConfigError, DataError, XalError
from xal.explainers import Explainer
from xal.models import Model

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64), np.uint8)


def saved(folder, architecture="resnet18", classes=1000, **changes):
    torch.manual_seed(0)
    state = torchvision_models.get_model(architecture, weights=None, num_classes=classes).state_dict() | changes
    save_file(state, folder / "weights.safetensors")
    return str(folder / "weights.safetensors")


@pytest.mark.parametrize("architecture", ["resnet18", "mobilenet_v3_small"])
@pytest.mark.parametrize("classes", [1000, 7])
def test_a_vector_is_what_enters_the_head(tmp_path, architecture, classes) -> None:
    """Reference: a hook on the last linear layer of torchvision's own network, with torchvision's normalisation."""
    weights = saved(tmp_path, architecture, classes)
    network = torchvision_models.get_model(architecture, weights=None, num_classes=classes).eval()
    from safetensors.torch import load_file

    network.load_state_dict(load_file(weights))
    entered = []
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
    linear.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    normalise = torchvision_models.ResNet18_Weights.IMAGENET1K_V1.transforms()
    mean, std = (torch.tensor(values)[:, None, None] for values in (normalise.mean, normalise.std))
    with torch.no_grad():
        network((torch.from_numpy(IMAGES) / 255 - mean) / std)
    encoder = TorchvisionEncoder(architecture=architecture, weights=weights, size=64)
    found = encoder.load({}).vectors(IMAGES)
    np.testing.assert_allclose(found, entered[0], rtol=1e-3, atol=1e-4)
    assert encoder.input_shape == (3, 64, 64) and encoder.kept and encoder.download is None


def test_gradients_flow_to_the_image(tmp_path) -> None:
    backbone = TorchvisionEncoder(architecture="resnet18", weights=saved(tmp_path), size=64).load({})
    image = torch.from_numpy(IMAGES[:1]).float().requires_grad_()
    backbone.tensors(image).sum().backward()
    assert image.grad is not None and image.grad.abs().sum() > 0
    assert not any(weight.requires_grad for weight in backbone.module.parameters())


def test_weights_that_do_not_fit_are_named(tmp_path) -> None:
    weights = saved(tmp_path)
    with pytest.raises(DataError, match=r"encoder.weights: .* e\.g\. .*is this the file of another|keys missing"):
        TorchvisionEncoder(architecture="resnet50", weights=weights).load({})
    with pytest.raises(DataError, match="encoder.weights: no file 'absent.pth'"):
        TorchvisionEncoder(weights="absent.pth").load({})
    with pytest.raises(DataError, match="IMAGENET1K_V9.*IMAGENET1K_V2"):
        TorchvisionEncoder(weights="IMAGENET1K_V9").load({})
    with pytest.raises(ConfigError, match="encoder.architecture: 'resnet5' is none of .*resnet50"):
        TorchvisionEncoder(architecture="resnet5", weights=weights).load({})
    (tmp_path / "code.pth").write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    with pytest.raises(DataError, match="holds no weights"):
        TorchvisionEncoder(architecture="resnet18", weights=str(tmp_path / "code.pth")).load({})


def test_weights_are_part_of_what_vectors_depend_on(tmp_path) -> None:
    (tmp_path / "other").mkdir()
    one = TorchvisionEncoder(architecture="resnet18", weights=saved(tmp_path))
    other = TorchvisionEncoder(
        architecture="resnet18", weights=saved(tmp_path / "other", **{"bn1.weight": torch.full((64,), 2.0)})
    )
    assert one.weights_digest != other.weights_digest
    assert one.weights_digest == TorchvisionEncoder(architecture="resnet18", weights=one.weights).weights_digest


def means(power=1):
    class Means(nn.Module):
        def forward(self, x):
            return x.mean(dim=(2, 3)) ** power

    return Means()


def test_a_module_of_ones_own() -> None:
    encoder = parse(Encoder, {"name": "torch", "factory": f"{__name__}:means", "size": 64, "settings": {"power": 2}})
    plain = parse(Encoder, {"name": "torch", "factory": f"{__name__}:means", "size": 64})
    np.testing.assert_allclose(encoder.load({}).vectors(IMAGES), plain.load({}).vectors(IMAGES) ** 2, rtol=1e-5)
    half = TorchEncoder(factory=f"{__name__}:means", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)).load({})
    np.testing.assert_allclose(half.vectors(IMAGES), IMAGES.mean(axis=(2, 3)) / 255, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"factory": f"{__name__}:absent"}, "encoder.factory .*absent.* failed"),
        ({"factory": f"{__name__}:IMAGES"}, "failed"),
        ({"factory": "builtins:dict"}, "returned dict, not a torch module"),
        ({"factory": "a:b", "mean": (0.5,)}, "encoder.mean: expected 3 numbers, got 1"),
        ({"factory": "a:b", "std": (0.0, 1.0, 1.0)}, "encoder.std: expected numbers other than 0"),
    ],
)
def test_mistakes_are_told(settings, message) -> None:
    with pytest.raises(XalError, match=message):
        TorchEncoder(**settings).load({})


def conv(width=4):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, padding=1), nn.AdaptiveAvgPool2d(2)
    )


@pytest.mark.parametrize("name", ["shap_partition", "lime", "ebano"])
def test_encoder_and_head_are_explained_as_one(name) -> None:
    """A bright corner decides, and has the largest attribution; the probability is that of both together."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 80, (60, 3, 32, 32), np.uint8)
    labels = np.arange(60) % 2
    images[labels == 1, :, :16, :16] += 160
    encoder = {"name": "torch", "factory": f"{__name__}:conv", "size": 32}
    classifier = trained(parse(Model, {"name": "logistic_regression", "encoder": encoder}), images, labels)
    settings = {"k_max": 3} if name == "ebano" else {"patches": 4, "mask_value": "black", "output": "margin"}
    explainer = parse(Explainer, {"name": name, **settings})
    inputs = torch.from_numpy(images[labels == 1][:4])
    found = explainer.explain(classifier, inputs, None, None)
    explainer.check(found)
    np.testing.assert_allclose(
        found.probability, classifier.probabilities(inputs)[range(4), found.explained_class], atol=1e-5
    )
    heat = found.heat
    assert (heat[:, :16, :16].mean(axis=(1, 2)) > heat[:, 16:, 16:].mean(axis=(1, 2))).all()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("output", ["margin", "probability"])
def test_gradients_flow_through_head_and_encoder(classes, output) -> None:
    """Integrated gradients add up to the output; loaded as engines do, in inference mode, and equal to predictions."""
    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 80, (60, 3, 32, 32), np.uint8), np.arange(60) % classes
    images[labels == 1, :, :16, :16] += 160
    encoder = {"name": "torch", "factory": f"{__name__}:conv", "size": 32}
    with torch.inference_mode():
        classifier = trained(parse(Model, {"name": "logistic_regression", "encoder": encoder}), images, labels)
        inputs = torch.from_numpy(images[:4]).float()
        expected = classifier.outputs(inputs, output)
        explainer = parse(Explainer, {"name": "integrated_gradients", "output": output, "steps": 200})
        found = explainer.explain(classifier, inputs)
    given = torch.from_numpy(images[:4]).float().requires_grad_()
    np.testing.assert_allclose(classifier.outputs(given, output).detach(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.base + found.attributions.sum(axis=1), found.output, rtol=0.02, atol=0.02)
    assert not np.allclose(found.attributions, 0)
    perceptron = parse(Model, {"name": "mlp", "encoder": encoder})
    assert "gradients" not in perceptron.provides and "gradient_descent" not in classifier.provides
