"""Any scikit-learn classifier: its own probabilities, kept by skops."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier

from tests.explainers.trained import trained
from xal.errors import XalError
from xal.models.model import Weights
from xal.models.sklearn.estimator import Estimator
from xal.models.training_data import TrainContext, TrainingData

X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
Y = np.digitize(X[:, 0], [-0.5, 0.5])
FOREST = {"n_estimators": 5, "random_state": 3}


def test_probabilities_are_scikit_learns() -> None:
    classifier = trained(Estimator(estimator="sklearn.ensemble:RandomForestClassifier", settings=FOREST), X, Y)
    theirs = RandomForestClassifier(**FOREST).fit(X.astype(np.float64), Y).predict_proba(X.astype(np.float64))
    np.testing.assert_array_equal(classifier.probabilities(torch.from_numpy(X)), theirs)
    np.testing.assert_allclose(
        classifier.outputs(torch.from_numpy(X), "margin"), np.log(np.maximum(theirs, np.exp(-30)))
    )


def test_a_class_without_labels_has_probability_zero() -> None:
    data = TrainingData(inputs=X, labels=Y * 2, n_classes=6, shape=(4,), n_labelled=60)  # 0, 2 and 4
    model = Estimator(estimator="sklearn.linear_model:LogisticRegression")
    arrays = model.fit(data, TrainContext()).arrays
    found = model.classifier(Weights(arrays=arrays, shape=(4,), n_classes=6)).probabilities(torch.from_numpy(X))
    assert found.shape == (60, 6) and not found[:, [1, 3, 5]].any()
    np.testing.assert_allclose(found.sum(dim=1), 1)


@pytest.mark.parametrize(
    ("estimator", "settings", "message"),
    [
        ("sklearn.svm:LinearSVC", {}, "no predict_proba.*CalibratedClassifierCV"),
        ("sklearn.ensemble:Nothing", {}, "cannot be made"),
        ("sklearn.ensemble.RandomForestClassifier", {}, "expected module:Class"),
        ("sklearn.ensemble:RandomForestClassifier", {"trees": 3}, "cannot be made.*trees"),
        ("pathlib:Path", {}, "expected a scikit-learn classifier, got PosixPath"),
        ("absent.skops", {}, "no file"),
    ],
)
def test_what_is_no_classifier_is_refused_before_the_campaign(estimator: str, settings: dict, message: str) -> None:
    with pytest.raises(XalError, match=message):
        Estimator(estimator=estimator, settings=settings)


def test_types_that_are_not_scikit_learns_need_trust() -> None:
    model = Estimator(
        estimator="sklearn.pipeline:Pipeline",
        settings={"steps": [["own", Centred()], ["head", RandomForestClassifier(**FOREST)]]},
    )
    with pytest.raises(XalError, match=r"does not trust: .*Centred; if they are your own, list them in `trusted`"):
        trained(model, X, Y)


from sklearn.base import BaseEstimator, TransformerMixin  # noqa: E402


class Centred(TransformerMixin, BaseEstimator):
    """A user's own step."""

    def fit(self, x, y=None):
        self.fitted_ = True
        return self

    def transform(self, x):
        return x - 1
