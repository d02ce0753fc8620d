"""Partition SHAP against shap's own explainer."""

import numpy as np
import pytest
import torch

from benchmarks.shap_reference import Masker, image_masker, owen, text_masker
from tests.explainers.trained import sst5, trained
from xal.core.hashed_words import column
from xal.core.threads import threads
from xal.data.images import decode
from xal.datasets.demo import demo_pool
from xal.encoders.bag_of_words import Tfidf
from xal.explainers import Explainer
from xal.explainers.masking import mask_items
from xal.explainers.partition_tree import balanced, linked
from xal.explainers.shap_linear import ShapLinear
from xal.explainers.shap_partition import ShapPartition, owen_values
from xal.models import TorchClassifier
from xal.models.sklearn.linear_svm import LinearSvm
from xal.models.sklearn.logistic_regression import LogisticRegression
from xal.models.sklearn.mlp import Mlp
from xal.models.torch.convnet import Convnet
from xal.types import dense


class Doubled(Convnet):
    """The convnet on float64."""

    def preprocess(self, images: torch.Tensor) -> torch.Tensor:
        return images.double() / 255


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """As engines do; on shared cores torch's threads wait for each other longer than they work."""
    with threads(1):
        yield


@pytest.fixture(scope="module")
def sentences(shared_data):
    return sst5(shared_data)


@pytest.mark.parametrize(
    ("max_evals", "batch_size"),
    [pytest.param(500, 10, marks=pytest.mark.long), (40, 10), (40, 4), pytest.param(2000, 10, marks=pytest.mark.long)],
)
def test_words_as_shap_has_them(sentences, max_evals: int, batch_size: int) -> None:
    """200 sentences of SST-5; whole trees and cut ones."""
    texts, labels = sentences
    classifier = trained(LinearSvm(encoder=Tfidf()), texts[:600], labels[:600])
    payload = np.array([text for text in texts[600:] if len(text.split()) > 1][:200], object)
    masked = mask_items(classifier, payload, "probability")
    of = classifier.probabilities(payload).argmax(1).numpy()
    found = ShapPartition(max_evals=max_evals, batch_size=batch_size).explain(classifier, payload)
    output = found.output
    values, _ = owen_values(masked, masked.trees(), of, output, max_evals, batch_size)

    def ask(left):
        return classifier.probabilities(np.asarray(left, object)).numpy()

    worst, cut, repeated = 0.0, 0, 0
    for i, (tree, words) in enumerate(zip(masked.trees(), masked.texts.tokens, strict=True)):
        for _ in range(10):  # groups of equal worth shap opens at random, so that it differs from itself
            expected = owen(ask, text_masker(tree, words), int(of[i]), max_evals, batch_size)
            difference = float(np.abs(values[i, : len(words)] - expected).max())
            repeated += difference > 1e-6
            if difference < 1e-6:
                break
        worst = max(worst, difference)
        cut += tree.evaluations + 2 > max_evals
    assert len(payload) == 200 and worst < 1e-6 and repeated < 20
    assert (cut > 50) == (max_evals == 40)
    first = masked.texts.tokens[0]
    by_word = sum(values[0, p] for p, word in enumerate(first) if word == first[1])
    assert dense(found.attributions[[0]])[0, column(first[1])] == pytest.approx(by_word)


@pytest.mark.parametrize(
    ("patches", "max_evals"), [(4, 60), (4, 500), (4, 2000), pytest.param(7, 500, marks=pytest.mark.long)]
)
def test_patches_as_shap_has_them(patches: int, max_evals: int) -> None:
    """50 images in float64; at 500 the tree of 4 x 4 patches is opened whole, that of 7 x 7 is not."""
    model = Doubled(filters=4, hidden=8)
    classifier = TorchClassifier(model, model.create((1, 28, 28), 10, seed=0).double())
    images = decode(demo_pool().read_span(0, 50, ["image"])["image"].to_pylist(), (1, 28, 28))[0]
    payload = torch.from_numpy(images).double()
    masked = mask_items(classifier, payload, "probability", patches=patches)
    with torch.no_grad():
        probabilities = classifier.probabilities(payload).numpy()
    of = probabilities.argmax(1)
    values, _ = owen_values(masked, masked.trees(), of, probabilities.max(1), max_evals, 10)

    def ask(composed):
        with torch.no_grad():
            return classifier.probabilities(torch.from_numpy(composed)).numpy()

    worst = 0.0
    for i in range(50):
        masker = image_masker(
            masked.trees()[i], payload[i].numpy(), masked.mask_value[0][i].numpy(), masked.segments[0]
        )
        worst = max(worst, float(np.abs(values[i] - owen(ask, masker, int(of[i]), max_evals, 10)).max()))
    assert worst < 1e-6
    assert (masked.trees()[0].evaluations + 2 <= max_evals) == (patches == 4 and max_evals >= 500)


@pytest.mark.parametrize("max_evals", [20, 2000])
def test_columns_as_shap_has_them(max_evals: int) -> None:
    """An MLP on ten columns, absent ones those of seven labelled rows in turn; a cut tree and a whole one."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(90, 10)).astype(np.float32)
    classifier = trained(Mlp(hidden=(8,), alpha=(1e-4,), epochs=200), x, 1 * (x[:, 0] * x[:, 1] > 0) + (x[:, 2] > 0))
    explainer = ShapPartition(max_evals=max_evals, background=7)
    found = explainer.explain(classifier, torch.from_numpy(x[60:]), None, torch.from_numpy(x[:7]))
    tree = balanced(10)
    assert (tree.evaluations + 2 <= max_evals) == (max_evals == 2000)

    def ask(rows: np.ndarray) -> np.ndarray:
        """(n * 7, 10) -> (n, c), the mean over the background."""
        return classifier.probabilities(torch.from_numpy(rows.reshape(-1, 10))).numpy().reshape(-1, 7, 3).mean(1)

    for i, row in enumerate(x[60:]):
        masker = Masker(tree, lambda mask, row=row: np.where(mask, row, x[:7])[None])
        expected = owen(ask, masker, int(found.explained_class[i]), max_evals, 10)
        np.testing.assert_allclose(found.attributions[i], expected, atol=1e-6)
    assert np.abs(found.attributions).max() > 0.1


def test_a_sum_over_features_is_explained_exactly() -> None:
    """What each feature adds is its value, at any number of evaluations that opens the whole tree."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(80, 6)).astype(np.float32)
    classifier = trained(LogisticRegression(), x, x[:, 0] > 0)
    first, payload = torch.from_numpy(x[:1]), torch.from_numpy(x)
    whole_tree = ShapPartition(output="margin", max_evals=10_000, background=1)
    partition = whole_tree.explain(classifier, payload, None, first)
    exact = ShapLinear(background=1).explain(classifier, payload, None, first)
    np.testing.assert_allclose(partition.attributions, exact.attributions, atol=1e-6)
    assert np.abs(exact.attributions).max() > 0.1


def test_an_mlp_on_words_is_explained(sentences) -> None:
    texts, labels = sentences
    classifier = trained(Mlp(encoder=Tfidf(), hidden=(8,), alpha=(1e-4,), epochs=5), texts[:200], labels[:200])
    for name in ("shap_partition", "lime"):
        explainer = Explainer.named(name)()
        found = explainer.explain(classifier, np.array(texts[200:206], object))
        explainer.check(found)
    with pytest.raises(Exception, match="use shap_partition for this model"):
        ShapLinear().explain(classifier, np.array(texts[:2], object))


def test_trees_as_shap_groups_words(sentences) -> None:
    from shap.maskers._text import partition_tree

    texts, labels = sentences
    classifier = trained(LinearSvm(encoder=Tfidf()), texts[:300], labels[:300])
    payload = np.array([text for text in texts[300:] if 5 < len(text.split()) < 12][:10], object)
    masked = mask_items(classifier, payload, "probability")
    found = ShapPartition(tree="shap", max_evals=2000).explain(classifier, payload)
    balanced_ones = ShapPartition(max_evals=2000).explain(classifier, payload)

    def ask(left):
        return classifier.probabilities(np.asarray(left, object)).numpy()

    for i, words in enumerate(masked.texts.tokens):
        tree = linked(partition_tree(words, []))
        expected = owen(ask, text_masker(tree, words), int(found.explained_class[i]), 2000, 10)
        of = [column(word) for word in words]
        by_column = np.zeros(found.attributions.shape[1])
        np.add.at(by_column, of, expected)
        np.testing.assert_allclose(dense(found.attributions[[i]])[0, of], by_column[of], atol=1e-9)
    assert np.abs(dense(found.attributions) - dense(balanced_ones.attributions)).max() > 1e-6


@pytest.mark.parametrize(("name", "noise"), [("shap_partition", 1e-9), ("shap_linear", 1e-9), ("lime", 0.2)])
def test_unknown_words_speak_for_nothing(name: str, noise: float) -> None:
    """LIME never keeps both of two words, but in the first sample: then one speaks against what the other is for."""
    texts = ["good film", "bad film", "good plot", "bad plot"] * 5
    classifier = trained(LinearSvm(encoder=Tfidf()), texts, np.array([text[:1] for text in texts]))
    found = Explainer.named(name)().explain(classifier, np.array(["zyx wvu", "good wvu", "tsr"], object))
    attributions = dense(found.attributions)
    assert np.abs(attributions[[0, 2]]).max() < 1e-12 and np.isfinite(attributions).all()
    assert np.abs(attributions[1]).argmax() == column("good") and abs(attributions[1, column("wvu")]) < noise


@pytest.mark.parametrize(("name", "noise"), [("shap_partition", 1e-6), ("shap_linear", 1e-9), ("lime", 0.05)])
def test_a_constant_column_speaks_for_nothing(name: str, noise: float) -> None:
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    x[:, 2] = 7
    classifier = trained(LogisticRegression(), x, x[:, 0] > 0)
    found = Explainer.named(name)().explain(classifier, torch.from_numpy(x[8:]), None, torch.from_numpy(x[:8]))
    attributions = dense(found.attributions)
    assert np.isfinite(attributions).all() and np.abs(attributions[:, 2]).max() < noise
    assert (np.abs(attributions).argmax(axis=1) == 0).mean() > 0.8
