"""`xal.explain`: a model of one's own, without a campaign."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

import xal

X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
Y = np.where(X[:, 0] > 0, "yes", "no")


def test_an_estimator_against_its_mean_and_complete():
    model = LogisticRegression().fit(X, Y)
    found = xal.explain(model, X[:5], target=1)
    np.testing.assert_allclose(found.output, model.predict_proba(X[:5])[:, 1], atol=1e-6)
    np.testing.assert_allclose(found.base, model.predict_proba(X[:5].mean(axis=0, keepdims=True))[0, 1], atol=1e-6)
    np.testing.assert_allclose(found.base + found.attributions.sum(axis=1), found.output, atol=1e-6)


def test_a_linear_module_is_explained_by_its_weights():
    module = torch.nn.Linear(4, 2)
    found = xal.explain(module, X[:5], explainer="integrated_gradients", target=0)
    np.testing.assert_allclose(found.attributions, X[:5] * module.weight[0].detach().numpy(), atol=1e-4)


def test_what_does_not_fit():
    with pytest.raises(xal.XalError, match="is not fitted"):
        xal.explain(LogisticRegression(), X[:2])
    with pytest.raises(xal.XalError, match="no predict_proba"):
        xal.explain(LinearSVC().fit(X, Y), X[:2])
    with pytest.raises(xal.XalError, match="explains image, the data holds features"):
        xal.explain(LogisticRegression().fit(X, Y), X[:2], explainer="ebano")
    with pytest.raises(xal.XalError, match="needs gradients"):
        xal.explain(LogisticRegression().fit(X, Y), X[:2], explainer="integrated_gradients")
    with pytest.raises(xal.XalError, match=r"expected classes 0\.\.1"):
        xal.explain(LogisticRegression().fit(X, Y), X[:2], target=5)


def test_top_features_go_by_their_names():
    pd = pytest.importorskip("pandas")
    data = pd.DataFrame(X[:5], columns=["width", "height", "depth", "age"])
    found = xal.explain(LogisticRegression().fit(X, Y), X[:5], target=1)
    best = xal.top_features(found, data, n=1)
    assert [len(each) for each in best] == [1] * 5
    for row, [(name, value)] in zip(found.attributions, best, strict=True):
        assert value == pytest.approx(row[np.argmax(np.abs(row))])
        assert name.startswith(data.columns[int(np.argmax(np.abs(row)))])
    with pytest.raises(xal.XalError, match="5 explanations of 2 items"):
        xal.top_features(found, X[:2])
