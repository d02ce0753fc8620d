"""Trained torch models: probabilities, embeddings, layer names."""

import pytest
import torch
from torch import nn

from tests.models.small import CLASSES, COLOUR, GREY, SMALL, classifier, images
from xal.core.threads import threads
from xal.errors import XalError
from xal.models import TorchClassifier
from xal.models.torch.convnet import Convnet
from xal.models.torch.perceptron import Perceptron
from xal.models.torch.resnet import ResNet

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


@pytest.mark.parametrize(("model", "shape"), CASES)
class TestTorchClassifier:
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


def test_without_a_linear_layer_there_is_no_embedding():
    class Pooled(Convnet):
        def build(self, shape, n_classes):
            return nn.Sequential(nn.Conv2d(shape[0], n_classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    net = classifier(Pooled(), GREY)
    assert net.probabilities(images(GREY)).shape == (4, CLASSES)
    with pytest.raises(XalError, match="no linear layer"):
        net.embed(images(GREY))


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


def test_only_a_self_explaining_module_explains_itself():
    with pytest.raises(XalError, match="explains the model senn"):
        classifier(Convnet(filters=2, hidden=4), GREY).self_explanation(images(GREY))
