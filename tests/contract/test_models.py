"""Every registered model through the invariants that engines and explainers rely on."""

import dataclasses
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch

from tests.encoders import tiny
from xal.core.threads import threads
from xal.encoders import Texts
from xal.encoders.bag_of_words import Tfidf
from xal.models import Model
from xal.models.model import Classifier, Weights
from xal.models.train_settings import TrainSettings
from xal.models.training_data import TrainContext, TrainingData

N, CLASSES = 36, 3
SHAPES = {"image": (3, 32, 32), "features": (6,), "text": ()}
CHECKPOINT = TemporaryDirectory()
SETTINGS: dict[str, dict[str, Any]] = {
    "convnet": {"filters": 4, "hidden": 8},
    "resnet": {"width": 4},
    "torchvision": {},
    "perceptron": {"hidden": (8,)},
    "mlp": {"hidden": (5,), "alpha": (0.1,), "epochs": 5},
    "mlp_ensemble": {"hidden": 5, "members": 2, "steps": 30},
    "sklearn": {"estimator": "sklearn.linear_model:LogisticRegression"},
    "torch": {"factory": f"{__name__}:flat"},
    "transformers": {"checkpoint": tiny.bert(Path(CHECKPOINT.name))},
}
"""What makes them small, and what has no default."""
CONTEXT = TrainContext(settings=TrainSettings(epochs=2, batch_size=12, validation=0, threads=1), seed=3)


def flat(shape: tuple[int, ...], n_classes: int) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(int(np.prod(shape)), n_classes))


def built() -> list[Any]:
    found = []
    for name, kind in sorted(Model.registry.items()):
        model = kind(**SETTINGS.get(name, {}))
        found.append(pytest.param(model, id=name))
        if hasattr(model, "encoder"):
            found.append(pytest.param(dataclasses.replace(model, encoder=Tfidf()), id=f"{name}-text"))
    return found


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Any:
    with threads(1):
        yield


def data_for(model: Model) -> TrainingData:
    """Labelled items of three classes, then three synthetic ones."""
    generator = np.random.default_rng(0)
    shape = model.input_shape(SHAPES[model.kind])
    labels = np.arange(N) % CLASSES
    inputs: Any
    if model.kind == "text":
        words = np.array(["good", "bad", "film", "plot", "end", "so"])
        inputs = np.array([" ".join(generator.choice(words, 5)) for _ in range(N)], object)
    elif model.kind == "image":
        inputs = generator.integers(0, 256, (N, *shape)).astype(np.uint8)
    else:
        inputs = generator.normal(size=(N, *shape)).astype(np.float32)
    return TrainingData(
        inputs=inputs, labels=labels, n_classes=CLASSES, shape=shape, n_labelled=N - 3,
        sample_weight=np.ones(N), source=np.arange(3),
    )  # fmt: skip


def ready(model: Model, arrays: Any, shape: tuple[int, ...]) -> Classifier:
    return model.classifier(Weights(arrays=arrays, shape=shape, n_classes=CLASSES))


def given_to(classifier: Classifier, data: TrainingData) -> Any:
    return data.inputs if classifier.kind == "text" else torch.from_numpy(data.inputs)


@pytest.mark.parametrize("model", built())
def test_fit_and_classify(model: Model) -> None:
    data = data_for(model)
    before = data.inputs.copy()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    fitted = model.fit(data, CONTEXT)
    assert torch.equal(torch.get_rng_state(), state), "the global generator is left alone"
    np.testing.assert_array_equal(data.inputs, before)
    assert (fitted.metrics["train_items"], fitted.metrics["synthetic_items"]) == (N - 3, 3)
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in fitted.arrays.values())

    classifier = ready(model, fitted.arrays, data.shape)
    inputs = given_to(classifier, data)
    assert isinstance(classifier, Classifier)
    assert classifier.kind == model.kind and classifier.provides == model.provides
    with torch.no_grad():
        probabilities = classifier.probabilities(inputs)
        told, embeddings = classifier.embed(inputs)
        margins = torch.as_tensor(classifier.outputs(inputs, "margin"))
        as_outputs = torch.as_tensor(classifier.outputs(inputs, "probability"))
        alone = torch.cat([classifier.probabilities(inputs[i : i + 1]) for i in range(4)])
    assert probabilities.shape == margins.shape == (N, CLASSES) and (probabilities >= 0).all()
    torch.testing.assert_close(probabilities.sum(1), torch.ones_like(probabilities[:, 0]))
    torch.testing.assert_close(told, probabilities)
    torch.testing.assert_close(as_outputs, probabilities)
    torch.testing.assert_close(alone, probabilities[:4], atol=1e-5, rtol=1e-4)
    assert embeddings.ndim == 2 and len(embeddings) == N and torch.isfinite(embeddings).all()

    again = ready(model, model.fit(data, CONTEXT).arrays, data.shape)
    with torch.no_grad():
        assert torch.equal(again.probabilities(inputs), probabilities), "the seed decides and nothing else"


@pytest.mark.parametrize("model", built())
def test_what_it_provides_is_there(model: Model) -> None:
    """Each word of `provides` is a method of the classifier that answers, or `missing_for` says why not."""
    data = data_for(model)
    classifier: Any = ready(model, model.fit(data, CONTEXT).arrays, data.shape)
    inputs = given_to(classifier, data)
    known = {"gradients", "gradient_descent", "conv_layers", "linear", "linear_head", "self_explaining", "concepts"}
    known |= {"contrastive", "sampled_probabilities"}
    assert model.provides <= known
    if "gradients" in model.provides:
        x = inputs[:2].float().requires_grad_()
        gradient = torch.autograd.grad(classifier.logits(x).sum(), x)[0]
        assert gradient.shape == x.shape and torch.isfinite(gradient).all()
    if "conv_layers" in model.provides:
        missing = model.missing_for("conv_layers", data.shape, CLASSES)
        assert bool(classifier.conv_layers()) == (missing is None)
    if "linear" in model.provides:
        weights, intercepts, encoding = classifier.linear()
        expected = np.asarray(encoding.encode(data.inputs) @ weights.T) + intercepts
        np.testing.assert_allclose(classifier.outputs(inputs, "margin"), expected, atol=1e-9)
    if "self_explaining" in model.provides:
        assert classifier.self_explanation(inputs).weights.shape[:2] == (N, CLASSES)
    with torch.inference_mode():
        p, embeddings = classifier.embed(inputs)
        if "contrastive" in model.provides:
            again, same, contrast = classifier.contrast(inputs)
            torch.testing.assert_close(again, p), torch.testing.assert_close(same, embeddings)
            assert contrast.shape == embeddings.shape
        if "sampled_probabilities" in model.provides:
            sampled = classifier.sampled_probabilities(inputs)
            assert sampled.shape[0] == N and sampled.shape[2] == CLASSES and sampled.shape[1] > 1
            torch.testing.assert_close(sampled.sum(dim=2), torch.ones(sampled.shape[:2], dtype=sampled.dtype))
            varies = float(p.std(dim=0).max()) > 1e-3  # a model that answers alike has nothing to drop
            assert bool(sampled.std(dim=1).max() > 0) or not varies
            parts = [classifier.sampled_probabilities(inputs[part]) for part in (slice(2), slice(2, None))]
            torch.testing.assert_close(torch.cat(parts), sampled, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(classifier.probabilities(inputs), p)  # no hook stays behind
    for requirement in known - {"conv_layers"} - ({"contrastive"} - model.provides):
        assert model.missing_for(requirement, data.shape, CLASSES) is None


@pytest.mark.parametrize("model", [each for each in built() if each.values[0].kind == "text"])
def test_texts_are_asked_about_with_words_left_out(model: Model) -> None:
    data = data_for(model)
    classifier: Any = ready(model, model.fit(data, CONTEXT).arrays, data.shape)
    texts = Texts(list(data.inputs[:4]))
    items = np.repeat(np.arange(4), 8)
    masks = np.random.default_rng(0).random((32, 5)) < 0.6
    masks[0], masks[1] = True, False
    for output in ("probability", "margin"):
        found = classifier.masked_outputs(texts, output)(items, masks)
        left = np.array(list(texts.left(items, masks)), object)
        np.testing.assert_allclose(found, np.asarray(classifier.outputs(left, output)), atol=1e-6)
