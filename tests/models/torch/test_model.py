"""Torch models: probabilities, embeddings, layer names, and what they train to."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from xal.core.threads import threads
from xal.errors import XalError
from xal.models import TorchClassifier
from xal.models.model import Classifier, Placement, Weights
from xal.models.torch.convnet import Convnet
from xal.models.torch.linear import Linear
from xal.models.torch.perceptron import Perceptron
from xal.models.torch.resnet import ResNet
from xal.models.torch.torchvision import Torchvision
from xal.models.train_settings import TrainSettings
from xal.models.training_data import TrainContext, TrainingData

GREY, COLOUR, CLASSES = (1, 28, 28), (3, 64, 64), 5
SMALL = {
    "convnet": Convnet(filters=4, hidden=16),
    "resnet": ResNet(width=4),
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


def test_linear_is_a_softmax_of_features():
    model = Linear()
    module = model.create((5,), 3, seed=0)
    features = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    weights, bias = module.state_dict().values()
    expected = torch.softmax(features @ weights.T + bias, dim=1)
    assert torch.allclose(TorchClassifier(model, module).probabilities(features), expected, atol=1e-6)


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


def test_the_shape_is_the_pools_unless_the_recipe_says_otherwise():
    assert Convnet().input_shape((1, 28, 30)) == (1, 28, 30)
    assert Convnet(size=32).input_shape((1, 28, 30)) == (1, 32, 32)
    assert Convnet(size=16, channels=3).input_shape((1, 28, 30)) == (3, 16, 16)
    assert Torchvision().input_shape((1, 28, 30)) == (3, 28, 30)


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
def test_resnet_has_six_layers_a_block_and_two_more(blocks):
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


@torch.inference_mode()
def test_what_a_model_says_that_it_provides_is_there():
    """A perceptron of images has no convolutions, which only the built module shows."""
    for model in SMALL.values():
        shape = COLOUR
        assert model.provides == {"gradients", "conv_layers"}
        found = classifier(model, shape).conv_layers()
        reason = model.missing_for("conv_layers", shape, CLASSES)
        assert (reason is None) == bool(found)
        assert reason is None or reason == "model 'perceptron' has no convolutions"
        assert model.missing_for("gradients", shape, CLASSES) is None
    assert Linear().provides == {"gradients"}


def test_a_missing_convolution_is_found_without_the_weights_file():
    assert Torchvision(weights="absent.pth").missing_for("conv_layers", COLOUR, CLASSES) is None


@pytest.mark.parametrize("model", [Convnet(filters=2, hidden=4), Perceptron(of="features", hidden=(4,), scale=1)])
def test_fitted_arrays_are_all_that_a_classifier_needs(model):
    """fit -> arrays -> classifier answers as the module that was trained, and fine-tuning starts from them."""
    shape = GREY if model.kind == "image" else (6,)
    inputs = images(shape, b=12) if model.kind == "image" else torch.randn(12, 6)
    data = TrainingData(
        inputs=inputs.numpy(), labels=np.arange(12) % 3, n_classes=3, shape=shape, n_labelled=9,
        sample_weight=np.ones(12), source=np.arange(3),
    )  # fmt: skip
    context = TrainContext(settings=TrainSettings(epochs=2, batch_size=4, validation=0), seed=4)
    fitted = model.fit(data, context)
    again = model.fit(data, context)
    assert all(np.array_equal(array, again.arrays[name]) for name, array in fitted.arrays.items())
    weights = Weights(arrays=fitted.arrays, shape=shape, n_classes=3)
    net = model.classifier(weights, Placement(precision="float32"))
    assert isinstance(net, Classifier) and net.kind == model.kind and net.provides == model.provides
    module = model.create(shape, 3, seed=9)
    module.load_state_dict({name: torch.from_numpy(array) for name, array in fitted.arrays.items()})
    with torch.no_grad():
        expected = torch.softmax(module(model.preprocess(inputs)), dim=1)
        torch.testing.assert_close(net.probabilities(inputs), expected)
        torch.testing.assert_close(net.outputs(inputs, "margin").softmax(1), net.outputs(inputs, "probability"))
    hits = (expected.argmax(1)[:9].numpy() == data.labels[:9]).mean()
    assert fitted.metrics["train_accuracy"] == pytest.approx(hits)
    assert (fitted.metrics["train_items"], fitted.metrics["synthetic_items"]) == (9, 3)
    still = TrainSettings(optimizer="sgd", lr=1e-30, epochs=1, validation=0)
    tuned = model.fit(data, TrainContext(settings=still, seed=7, start=fitted.arrays))
    assert all(np.array_equal(array, fitted.arrays[name]) for name, array in tuned.arrays.items())


def test_the_validation_items_choose_the_epoch():
    model = Convnet(filters=2, hidden=4)
    data = TrainingData(
        inputs=images(GREY, b=8).numpy(), labels=np.arange(8) % 2, n_classes=2, shape=GREY, n_labelled=8,
    )  # fmt: skip
    settings = TrainSettings(epochs=6, batch_size=4, lr=0.01)
    opposite = dataclasses.replace(data, labels=1 - data.labels)  # the better the training, the worse the loss
    metrics = model.fit(dataclasses.replace(data, validation=opposite), TrainContext(settings=settings)).metrics
    assert metrics["best_epoch"] < metrics["epochs"] == 6 and metrics["validation_items"] == 8
    alone = model.fit(data, TrainContext(settings=settings)).metrics
    assert (alone["best_epoch"], alone["validation_loss"], alone["validation_items"]) == (6, None, 0)


def test_only_a_self_explaining_module_explains_itself():
    with pytest.raises(XalError, match="explains the model senn"):
        classifier(Convnet(filters=2, hidden=4), GREY).self_explanation(images(GREY))
