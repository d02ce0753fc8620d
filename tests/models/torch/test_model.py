"""Torch models: the shape of their inputs, what they provide, and what they train to."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.models.small import CLASSES, COLOUR, GREY, SMALL, classifier, images
from xal.core.threads import threads
from xal.errors import XalError
from xal.models.model import Classifier, Placement, Weights
from xal.models.torch.convnet import Convnet
from xal.models.torch.linear import Linear
from xal.models.torch.model import SCALING
from xal.models.torch.perceptron import Perceptron
from xal.models.torch.torchvision import Torchvision
from xal.models.train_settings import TrainSettings
from xal.models.training_data import TrainContext, TrainingData


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """As engines do; on shared cores torch's threads wait for each other longer than they work."""
    with threads(1):
        yield


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


@torch.inference_mode()
def test_what_a_model_says_that_it_provides_is_there():
    """A perceptron of images has no convolutions, which only the built module shows."""
    learnt = {"gradients", "gradient_descent", "contrastive", "sampled_probabilities"}
    for model in SMALL.values():
        shape = COLOUR
        assert model.provides == learnt | {"conv_layers"}
        found = classifier(model, shape).conv_layers()
        reason = model.missing_for("conv_layers", shape, CLASSES)
        assert (reason is None) == bool(found)
        assert reason is None or reason == "model 'perceptron' has no convolutions"
        assert model.missing_for("gradients", shape, CLASSES) is None
    assert Linear().provides == learnt


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
    scaling = [fitted.arrays[name] for name in SCALING if name in fitted.arrays]
    assert len(scaling) == 2 * (model.kind == "features")
    scaled = (inputs - torch.from_numpy(scaling[0])) / torch.from_numpy(scaling[1]) if scaling else inputs
    arrays = {name: array for name, array in fitted.arrays.items() if name not in SCALING}
    module.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    with torch.no_grad():
        expected = torch.softmax(module(model.preprocess(scaled)), dim=1)
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
