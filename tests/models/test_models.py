"""Models: probabilities, embeddings, layer names; and torchvision's weights from every place they may come from."""

from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models as torchvision_models

from xal.engine.worker import threads
from xal.errors import DataError, XalError
from xal.models import Model, TorchClassifier
from xal.models.torch.convnet import Convnet
from xal.models.torch.perceptron import Perceptron
from xal.models.torch.resnet import ResNet
from xal.models.torch.torchvision import Torchvision

GREY, COLOUR, CLASSES = (1, 28, 28), (3, 64, 64), 5
SMALL = {
    "convnet": Convnet(filters=4, hidden=16),
    "residual": ResNet(width=4),
    "torchvision": Torchvision(),
    "perceptron": Perceptron(hidden=(16,)),
}
CASES = [
    pytest.param(model, shape, id=f"{name}-{shape[0]}x{shape[1]}x{shape[2]}")
    for name, model in SMALL.items()
    for shape in (GREY, COLOUR)
    if not (name == "torchvision" and shape[0] == 1)
]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """As engines do; on shared cores torch's threads wait for each other longer than they work."""
    with threads(1):
        yield


def images(shape, b=4, seed=0):
    return torch.randint(0, 256, (b, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def classifier(model, shape):
    return TorchClassifier(model, model.create(shape, CLASSES, seed=0))


def hooks(module):
    return [
        hook
        for layer in module.modules()
        for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
        for hook in getattr(layer, kind).values()
    ]


def linear(module):
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]


def same(one, other, but=()):
    assert one.keys() == other.keys()
    return all(torch.equal(one[key], other[key]) for key in one if key not in but)


def test_every_registered_model_is_tested():
    shallow = {"linear_svm", "logistic_regression", "mlp"}  # test_shallow.py
    assert set(Model.registry) == {*SMALL, *shallow, "linear", "senn"}  # test_losses.py has senn


def test_linear_is_a_softmax_of_features():
    model = Model.named("linear")()
    module = model.create((5,), 3, seed=0)
    features = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    weights, bias = module.state_dict().values()
    expected = torch.softmax(features @ weights.T + bias, dim=1)
    assert torch.allclose(TorchClassifier(model, module).probabilities(features), expected, atol=1e-6)


@pytest.mark.parametrize(("model", "shape"), CASES)
class TestNetwork:
    @torch.inference_mode()
    def test_probabilities_are_a_distribution(self, model, shape):
        found = classifier(model, shape).probabilities(images(shape))
        assert found.shape == (4, CLASSES) and found.dtype == torch.float32
        assert (found >= 0).all()
        torch.testing.assert_close(found.sum(dim=1), torch.ones(4))

    @torch.inference_mode()
    def test_an_image_does_not_see_its_batch(self, model, shape):
        """Evaluation mode: batch norm takes its running statistics."""
        net, batch = classifier(model, shape), images(shape)
        one_by_one = torch.cat([net.probabilities(image[None]) for image in batch])
        torch.testing.assert_close(net.probabilities(batch), one_by_one, rtol=1e-4, atol=1e-5)

    @torch.inference_mode()
    def test_bytes_and_floats_are_the_same_image(self, model, shape):
        net, batch = classifier(model, shape), images(shape)
        assert torch.equal(net.probabilities(batch), net.probabilities(batch.float()))

    @torch.inference_mode()
    def test_embeddings_are_the_input_of_the_last_linear_layer(self, model, shape):
        net, batch = classifier(model, shape), images(shape)
        probabilities, embeddings = net.embed(batch)
        head = linear(net.module)
        assert embeddings.shape == (4, head.in_features)
        assert torch.equal(probabilities, net.probabilities(batch))
        torch.testing.assert_close(torch.softmax(head(embeddings), dim=1), probabilities)
        assert not hooks(net.module)

    def test_no_hook_outlives_an_error(self, model, shape):
        net = classifier(model, shape)
        with pytest.raises(RuntimeError):
            net.embed(images((2, *shape[1:])))  # two channels fit no model here
        assert not hooks(net.module)

    def test_layer_names_are_those_of_the_convolutions(self, model, shape):
        net = classifier(model, shape)
        found = net.conv_layers()
        assert len(set(found)) == len(found) == sum(isinstance(layer, nn.Conv2d) for layer in net.module.modules())
        assert (found or isinstance(model, Perceptron)) and all(
            isinstance(net.module.get_submodule(name), nn.Conv2d) for name in found
        )

    def test_weights_follow_from_the_seed_alone(self, model, shape):
        torch.manual_seed(1)
        before = torch.random.get_rng_state()
        one = model.create(shape, CLASSES, seed=3).state_dict()
        assert torch.equal(torch.random.get_rng_state(), before)
        torch.rand(7)
        assert same(model.create(shape, CLASSES, seed=3).state_dict(), one)
        assert not same(model.create(shape, CLASSES, seed=4).state_dict(), one)


def test_the_shape_is_the_pools_unless_the_recipe_says_otherwise():
    assert Convnet().shape((1, 28, 30)) == (1, 28, 30)
    assert Convnet(size=32).shape((1, 28, 30)) == (1, 32, 32)
    assert Convnet(size=16, channels=3).shape((1, 28, 30)) == (3, 16, 16)
    assert Torchvision().shape((1, 28, 30)) == (3, 28, 30)


def test_the_generator_is_left_alone_after_an_error_too():
    before = torch.random.get_rng_state()
    with pytest.raises(XalError):
        Torchvision().create(GREY, CLASSES, seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_convnet_is_that_of_alex():
    """Mondal & Ganguly: 32 filters of 3 x 3 without padding, dense 128. Weights counted by hand for 28 x 28."""
    module = Convnet().build(GREY, 10)
    expected = (9 + 1) * 32 + (32 * 26 * 26 + 1) * 128 + (128 + 1) * 10
    assert sum(weights.numel() for weights in module.parameters()) == expected


@pytest.mark.parametrize("blocks", [1, 3])
def test_residual_has_six_layers_a_block_and_two_more(blocks):
    """He et al. 2016, 4.2: 6n + 2 weighted layers; the two 1 x 1 shortcuts are not counted."""
    module = ResNet(width=2, blocks=blocks).build(GREY, 10)
    weighted = [
        m
        for m in module.modules()
        if isinstance(m, nn.Linear) or (isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3))
    ]
    assert len(weighted) == 6 * blocks + 2
    assert sum(isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) for m in module.modules()) == 2


def test_without_a_linear_layer_there_is_no_embedding():
    class Pooled(Convnet):
        def build(self, shape, classes):
            return nn.Sequential(nn.Conv2d(shape[0], classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    net = classifier(Pooled(), GREY)
    assert net.probabilities(images(GREY)).shape == (4, CLASSES)
    with pytest.raises(XalError, match="no linear layer"):
        net.embed(images(GREY))


class TestTorchvision:
    def state(self, classes=CLASSES):
        torch.manual_seed(11)
        return torchvision_models.resnet18(weights=None, num_classes=classes).state_dict()

    def save(self, folder, form, state):
        path = folder / ("weights.safetensors" if form == "safetensors" else "weights.pth")
        if form == "safetensors":
            save_file(state, path)
        else:
            torch.save({"state_dict": state, "epoch": 3} if form == "checkpoint" else state, path)
        return str(path)

    def built(self, weights, classes=CLASSES, seed=0):
        return Torchvision(weights=weights).create(COLOUR, classes, seed=seed).state_dict()

    def test_normalises_as_torchvision_says(self):
        """Reference: the transforms that torchvision ships with its ImageNet weights."""
        transforms = torchvision_models.ResNet18_Weights.IMAGENET1K_V1.transforms()
        batch = images(COLOUR)
        mean, std = (torch.tensor(values)[:, None, None] for values in (transforms.mean, transforms.std))
        torch.testing.assert_close(Torchvision().preprocess(batch), (batch / 255 - mean) / std)

    @pytest.mark.parametrize("form", ["safetensors", "pth", "checkpoint"])
    def test_a_file_round_trips(self, tmp_path, form):
        state = self.state()
        assert same(self.built(self.save(tmp_path, form, state)), state)

    @pytest.mark.parametrize("form", ["safetensors", "pth"])
    def test_a_head_of_another_width_starts_anew(self, tmp_path, form):
        """The body is the file's, the head that of the same seed without a file."""
        state = self.state(classes=7)
        built = self.built(self.save(tmp_path, form, state), seed=5)
        head = ("fc.weight", "fc.bias")
        assert same(built, state, but=head)
        fresh = Torchvision().create(COLOUR, CLASSES, seed=5).state_dict()
        assert all(torch.equal(built[key], fresh[key]) for key in head)

    def test_a_download_is_torchvisions_own(self, monkeypatch):
        state = self.state(classes=1000)
        monkeypatch.setattr(torchvision_models.ResNet18_Weights, "get_state_dict", lambda *_, **__: state)
        assert same(self.built("IMAGENET1K_V1"), state, but=("fc.weight", "fc.bias"))

    @pytest.mark.parametrize("error", [URLError("no route"), TimeoutError("slow"), RuntimeError("invalid hash value")])
    def test_a_failed_download_says_what_to_do(self, monkeypatch, error):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr(torchvision_models.ResNet18_Weights, "get_state_dict", fail)
        with pytest.raises(DataError, match="download of resnet18 IMAGENET1K_V1 failed.*path"):
            self.built("IMAGENET1K_V1")

    @pytest.mark.parametrize("weights", ["absent.pth", "absent.safetensors", "folder/absent"])
    def test_a_missing_file(self, weights):
        with pytest.raises(DataError, match=f"no file '{weights}'"):
            self.built(weights)

    def test_an_unknown_name_lists_the_known(self):
        with pytest.raises(DataError, match="IMAGENET1K_V9.*IMAGENET1K_V1"):
            self.built("IMAGENET1K_V9")

    @pytest.mark.parametrize("form", ["safetensors", "pth"])
    def test_other_keys(self, tmp_path, form):
        state = {f"backbone.{key}": value for key, value in self.state().items()}
        with pytest.raises(DataError, match=r"keys missing.*unknown.*conv1\.weight"):
            self.built(self.save(tmp_path, form, state))

    def test_a_key_too_few(self, tmp_path):
        state = self.state()
        del state["layer1.0.bn1.weight"]
        with pytest.raises(DataError, match=r"1 keys missing, 0 unknown.*layer1\.0\.bn1\.weight"):
            self.built(self.save(tmp_path, "pth", state))

    def test_another_shape_below_the_head(self, tmp_path):
        state = self.state() | {"conv1.weight": torch.zeros(64, 1, 7, 7)}
        with pytest.raises(DataError, match=r"conv1\.weight"):
            self.built(self.save(tmp_path, "pth", state))

    @pytest.mark.parametrize("suffix", ["pth", "safetensors"])
    def test_a_broken_file(self, tmp_path, suffix):
        path = tmp_path / f"weights.{suffix}"
        path.write_bytes(b"not weights at all")
        with pytest.raises(DataError, match=f"weights.{suffix}"):
            self.built(str(path))

    def test_a_file_that_holds_no_state(self, tmp_path):
        torch.save([torch.zeros(3)], tmp_path / "weights.pth")
        with pytest.raises(DataError, match="weights"):
            self.built(str(tmp_path / "weights.pth"))

    def test_a_file_with_code_is_not_run(self, tmp_path):
        torch.save({"conv1.weight": Payload(str(tmp_path / "ran"))}, tmp_path / "weights.pth")
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which error is the next assertion
            self.built(str(tmp_path / "weights.pth"))
        assert not (tmp_path / "ran").exists()
        assert isinstance(caught.value, DataError)

    def test_grey_images_are_refused(self):
        with pytest.raises(XalError, match="3 channels, got 1"):
            Torchvision().build(GREY, CLASSES)


class Payload:
    """Unpickling it would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@torch.inference_mode()
def test_bfloat16_is_close_and_a_distribution():
    model = Convnet(filters=4, hidden=16)
    module = model.create(GREY, CLASSES, seed=0)
    exact = TorchClassifier(model, module).probabilities(images(GREY))
    coarse = TorchClassifier(model, module, precision="bfloat16").probabilities(images(GREY))
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse, exact, atol=0.02, rtol=0)
    assert not torch.equal(coarse, exact)
    torch.testing.assert_close(coarse.sum(1), torch.ones(4))


@pytest.mark.slow
@torch.inference_mode()
def test_compiled_graphs_answer_alike_and_step_aside_for_hooks():
    model = ResNet(width=4)
    module = model.create(GREY, CLASSES, seed=0)
    classifier = TorchClassifier(model, module, compiled=True)
    expected = TorchClassifier(model, module).probabilities(images(GREY))
    torch.testing.assert_close(classifier.probabilities(images(GREY)), expected, atol=1e-5, rtol=1e-4)
    seen = []
    hook = classifier.module.get_submodule("0").register_forward_hook(lambda *args: seen.append(1))
    assert torch.equal(classifier.probabilities(images(GREY)), expected) and seen
    hook.remove()
