"""Every registered explainer through the invariants that strategies, reports and users rely on."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from xal.core.threads import threads
from xal.encoders.bag_of_words import Tfidf
from xal.encoders.column import Column
from xal.errors import NumericalError, XalError
from xal.explainers import Explainer
from xal.explainers.explainer import ConvClassifier
from xal.models import TorchClassifier
from xal.models.model import Classifier, Weights
from xal.models.sklearn.linear_svm import LinearSvm
from xal.models.sklearn.logistic_regression import LogisticRegression
from xal.models.torch.convnet import Convnet
from xal.models.torch.linear import Linear
from xal.models.torch.resnet import ResNet
from xal.models.torch.senn import Senn
from xal.models.training_data import TrainContext, TrainingData
from xal.types import TAGS, dense

EVERY = {name: Explainer.named(name)() for name in sorted(Explainer.registry)}
OWN = {f"{name}-superpixels": Explainer.named(name)(superpixels=9) for name in ("lime", "shap_partition")}
OF_EMBEDDINGS = [pytest.param(each, id=name) for name, each in EVERY.items() if each.of_embeddings]
EXPLAINERS = [
    pytest.param(each, id=name)
    for name, each in (EVERY | OWN).items()
    if "image" in each.kinds and not each.of_embeddings
]
OTHERS = [
    pytest.param(each, kind, id=f"{name}-{kind}")
    for name, each in EVERY.items()
    for kind in sorted(each.kinds - {"image"})
    if not each.of_embeddings
]
SHAPE, CLASSES = (1, 16, 14), 4


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """As engines do; on shared cores torch's threads wait for each other longer than they work."""
    with threads(1):
        yield


@pytest.fixture
def classifier(explainer):
    model = Senn(of="image", layers=2, width=8) if "self_explaining" in explainer.requires else ResNet(width=4)
    return TorchClassifier(model, model.create(SHAPE, CLASSES, seed=0))


GREY = torch.full((1, *SHAPE), 40, dtype=torch.uint8)
"""A labelled image, for explainers that ask for some."""


def explain(explainer, classifier, images, target=None):
    return explainer.explain(classifier, images, target, GREY)


@pytest.fixture(scope="module")
def images():
    coarse = torch.rand(3, 1, 5, 5, generator=torch.Generator().manual_seed(0)) * 255
    return F.interpolate(coarse, size=SHAPE[1:], mode="bilinear").to(torch.uint8)


def equal(one, other):
    return all(
        value == vars(other)[name]
        if name in TAGS
        else np.array_equal(dense(value), dense(vars(other)[name]), equal_nan=True)
        for name, value in vars(one).items()
        if value is not None
    )


def hooks(classifier):
    return [hook for layer in classifier.module.modules() for hook in layer._forward_hooks.values()]


def refuses(explainer, found):
    """Whether its check sees an attribution that is none, and, where it is complete, a sum that is off."""
    attributions = dense(found.attributions).copy()
    attributions[0, 0] = np.nan
    with pytest.raises(NumericalError):
        explainer.check(dataclasses.replace(found, attributions=attributions))
    if explainer.tolerance is not None:
        off = np.where(np.arange(len(found)) == 1, 0.1, 0.0)
        with pytest.raises(NumericalError, match=f"1 of {len(found)} explanations are not complete"):
            explainer.check(dataclasses.replace(found, base=found.base + off))


def test_the_family_is_not_empty():
    assert {"ebano", "ebano_express"} <= set(Explainer.registry)


@pytest.mark.parametrize("explainer", EXPLAINERS)
class TestExplainer:
    def test_its_own_check_passes(self, explainer, classifier, images):
        assert isinstance(classifier, ConvClassifier) and isinstance(classifier, Classifier)
        found = explain(explainer, classifier, images)
        explainer.check(found)
        refuses(explainer, found)
        assert len(found) == 3 and found.segments.shape == (3, *SHAPE[1:])
        assert found.attributions.shape == found.interpretable_input.shape
        assert found.per_item == (explainer.space != "shared") and (found.npirp is None) == (explainer.space != "ebano")
        assert found.feature_kind == ("pixels" if found.attributions.shape[1] == 16 * 14 else "segments")
        assert np.isfinite(dense(found.vectors)).all()
        if found.npirp is None:
            np.testing.assert_allclose(explainer.to_interpretable(images), found.interpretable_input, rtol=1e-6)

    def test_deterministic_and_free_of_global_seeds(self, explainer, classifier, images):
        first = explain(explainer, classifier, images)
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002
        state = torch.get_rng_state()
        assert equal(explain(explainer, classifier, images), first)
        assert torch.equal(torch.get_rng_state(), state)

    def test_the_class_of_interest(self, explainer, classifier, images):
        with torch.inference_mode():
            predicted = classifier.probabilities(images).argmax(1)
        assert np.array_equal(explain(explainer, classifier, images).explained_class, predicted.numpy())
        target = (predicted + 1) % CLASSES
        assert np.array_equal(explain(explainer, classifier, images, target).explained_class, target.numpy())
        with pytest.raises(XalError, match="expected classes 0..3"):
            explain(explainer, classifier, images, target + CLASSES)

    def test_uint8_and_float_alike_and_inputs_kept(self, explainer, classifier, images):
        before = images.clone()
        assert equal(explain(explainer, classifier, images), explain(explainer, classifier, images.float()))
        assert torch.equal(images, before)

    def test_hooks_are_removed_even_after_an_error(self, explainer, classifier, images):
        explain(explainer, classifier, images)
        assert not hooks(classifier)

        def broken(*_):
            raise RuntimeError("broken on purpose")

        handle = list(classifier.module.children())[-1].register_forward_hook(broken)
        with pytest.raises(RuntimeError, match="on purpose"):
            explain(explainer, classifier, images)
        handle.remove()
        assert not hooks(classifier)


TEXTS = np.array(["a good film", "bad, bad, bad", "not so good a plot but good words", "?!", "good"], object)


@pytest.fixture(scope="module")
def trained():
    """Of texts and of features."""
    generator = np.random.default_rng(0)
    words = np.array(["good", "fine", "bad", "poor", "film", "plot", "words", "so", "not", "but", "a", "the"])
    texts = np.array([" ".join(generator.choice(words, 6)) for _ in range(60)], object)
    features = generator.normal(size=(60, 5)).astype(np.float32)
    found = {}
    for kind, payload, model in (
        ("text", texts, LinearSvm(encoder=Tfidf())),
        ("features", features, LogisticRegression()),
    ):
        labels = (features[:, 0] > 0) if kind == "features" else np.array(["good" in text for text in texts])
        data = TrainingData(
            inputs=payload,
            labels=labels.astype(np.int64),
            n_classes=2,
            shape=payload.shape[1:],
            n_labelled=60,
        )
        arrays = model.fit(data, TrainContext()).arrays
        found[kind] = model.classifier(Weights(arrays=arrays, shape=data.shape, n_classes=2))
    items = {"text": TEXTS, "features": torch.from_numpy(features[:5])}
    baselines = {"text": None, "features": torch.from_numpy(features[:9])}
    return found | {"items": items, "baselines": baselines}


@pytest.mark.parametrize(("explainer", "kind"), OTHERS)
class TestTextsAndTables:
    def test_invariants(self, explainer, kind, trained):
        classifier, items, baselines = (trained[kind], trained["items"][kind], trained["baselines"][kind])
        if explainer.requires & {"gradients", "self_explaining"}:
            (required,) = explainer.requires
            with pytest.raises(XalError, match=f"needs {required.replace('_', ' ')}, and this model has no"):
                explainer.explain(classifier, items, None, baselines)
            return
        found = explainer.explain(classifier, items, None, baselines)
        assert found.feature_kind == {"text": "words", "features": "columns"}[kind] and not found.per_item
        explainer.check(found)
        refuses(explainer, found)
        assert len(found) == 5 and equal(explainer.explain(classifier, items, None, baselines), found)
        assert np.array_equal(found.explained_class, classifier.probabilities(items).argmax(1).numpy())
        np.testing.assert_allclose(dense(explainer.to_interpretable(items)), dense(found.interpretable_input))
        for split in (slice(0, 2), slice(4, 5)):  # an item is explained alike in any company
            alone = explainer.explain(classifier, items[split], None, baselines)
            np.testing.assert_allclose(dense(alone.attributions), dense(found.attributions)[split], atol=1e-9)
        other = torch.tensor([1, 0, 1, 0, 1])
        assert np.array_equal(explainer.explain(classifier, items, other, baselines).explained_class, other.numpy())
        one, two = explainer.explain_all(classifier, items, 2, baselines)
        assert not one.explained_class.any() and two.explained_class.all()

    def test_what_no_class_is(self, explainer, kind, trained):
        with pytest.raises(XalError, match="expected classes 0..1|needs (gradients|self explaining)"):
            explainer.explain(trained[kind], trained["items"][kind], torch.full((5,), 2), trained["baselines"][kind])


@pytest.mark.parametrize("explainer", OF_EMBEDDINGS)
def test_explanations_of_embeddings(explainer):
    """On the head of a model whose vectors are kept; without such a head, it says what it explains."""
    vectors = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    model = LogisticRegression(encoder=Column())
    data = TrainingData(inputs=vectors, labels=np.arange(40) % 3, n_classes=3, shape=(), n_labelled=40, on_vectors=True)
    arrays = model.fit(data, TrainContext()).arrays
    head = model.classifier(Weights(arrays=arrays, shape=(), n_classes=3)).head
    items = torch.from_numpy(vectors[:5])
    found = explainer.explain(head, items)
    explainer.check(found)
    refuses(explainer, found)
    assert found.feature_kind == "concepts" and found.attributions.shape == (5, 6)
    assert equal(explainer.explain(head, items), found)
    assert np.array_equal(found.explained_class, head.probabilities(items).argmax(1).numpy())
    other = torch.tensor([1, 0, 1, 2, 1])
    assert np.array_equal(explainer.explain(head, items, other).explained_class, other.numpy())
    with pytest.raises(XalError, match="expected classes 0..2"):
        explainer.explain(head, items, torch.full((5,), 3))
    network = TorchClassifier(Convnet(), Convnet().create(SHAPE, CLASSES, seed=0))
    with pytest.raises(XalError, match="explains a linear_svm or logistic_regression on an encoder's vectors"):
        explainer.explain(network, torch.zeros((2, *SHAPE)))


def test_gradients_of_features_in_torch():
    model = Linear()
    classifier = TorchClassifier(model, model.create((4,), 3, seed=0))
    baselines = torch.randn(2, 4)
    x = torch.randn(6, 4)
    of = classifier.logits(x).argmax(1)
    weight = classifier.module[0].weight.detach()[of]
    exact = Explainer.named("integrated_gradients")().explain(classifier, x)
    np.testing.assert_allclose(exact.attributions, (weight * x).numpy(), atol=1e-5)
    expected = Explainer.named("gradient_shap")(background=2, samples=8).explain(classifier, x, None, baselines)
    np.testing.assert_allclose(expected.attributions, (weight * (x - baselines.mean(0))).numpy(), atol=1e-5)


@pytest.mark.parametrize("output", ["margin", "probability"])
def test_gradients_are_captums(images, output):
    """Of a network that is no line: integrated gradients by another rule, and the mean of many GradientSHAP samples."""
    from captum import attr

    model = Convnet(filters=3, hidden=7)
    classifier = TorchClassifier(model, model.create(SHAPE, CLASSES, seed=0))
    x, of = images.float(), torch.tensor([0, 1, 2])

    def function(shown):
        logits = classifier.module(classifier.preprocess(shown))
        return torch.softmax(logits, dim=1) if output == "probability" else logits

    def close(found, theirs, share):
        expected = theirs.sum(1).flatten(1).detach().numpy()
        assert np.abs(found.attributions - expected).max() < share * np.abs(expected).max()

    plain = attr.IntegratedGradients(function).attribute(x, target=of, n_steps=500, method="riemann_middle")
    close(Explainer.named("integrated_gradients")(output=output).explain(classifier, images, of), plain, 0.02)
    torch.manual_seed(0)
    kernel = attr.GradientShap(function)
    sampled = kernel.attribute(x, x[:1], target=of, n_samples=3000)
    many = Explainer.named("gradient_shap")(output=output, samples=3000)
    close(many.explain(classifier, images, of, images[:1]), sampled, 0.05)


def test_labelled_items_are_asked_for():
    model = Linear()
    classifier = TorchClassifier(model, model.create((4,), 3, seed=0))
    for name in ("shap_partition", "lime", "gradient_shap"):
        assert Explainer.named(name)().n_baselines > 0
        with pytest.raises(XalError, match="label some first"):
            Explainer.named(name)().explain(classifier, torch.randn(2, 4))
