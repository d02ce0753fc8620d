"""Linear SHAP against shap's own."""

import numpy as np
import pytest
import torch

from tests.explainers.trained import sst5, trained
from xal.encoders.bag_of_words import Hashing, Tfidf
from xal.explainers.shap_linear import ShapLinear
from xal.models.sklearn.linear_svm import LinearSvm
from xal.models.sklearn.logistic_regression import LogisticRegression


@pytest.fixture(scope="module")
def sentences(shared_data):
    return sst5(shared_data)


def test_linear_shap_is_shaps() -> None:
    import shap

    generator = np.random.default_rng(0)
    x = generator.normal(size=(90, 5)).astype(np.float32)
    classifier = trained(LogisticRegression(), x, np.digitize(x[:, 0] + x[:, 1], [-1, 1]))
    found = ShapLinear(background=40).explain(classifier, torch.from_numpy(x[40:]), None, torch.from_numpy(x[:40]))
    weights, intercepts, encoding = classifier.linear()
    masker = shap.maskers.Independent(encoding.encode(x[:40]), max_samples=40)
    for c in range(3):
        theirs = shap.LinearExplainer((weights[c], intercepts[c]), masker).shap_values(encoding.encode(x[40:]))
        some = found.explained_class == c
        np.testing.assert_allclose(found.attributions[some], theirs[some], atol=1e-9)


def test_linear_shap_of_texts_is_complete(sentences) -> None:
    texts, labels = sentences
    for encoder in (Tfidf(), Hashing(bits=8)):
        classifier = trained(LinearSvm(encoder=encoder), texts[:500], labels[:500])
        payload = np.array(texts[500:600], object)
        found = ShapLinear().explain(classifier, payload)
        margins = classifier.outputs(payload, "margin")[np.arange(100), found.explained_class]
        np.testing.assert_allclose(found.base + np.asarray(found.attributions.sum(1)), margins, atol=1e-9)
