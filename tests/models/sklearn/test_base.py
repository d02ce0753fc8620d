"""scikit-learn models against scikit-learn's own pipelines."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from sklearn.calibration import CalibratedClassifierCV, _SigmoidCalibration
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from xal.encoders.bag_of_words import Hashing
from xal.errors import XalError
from xal.explainers.explainer import check_provided
from xal.models.model import Classifier, Weights
from xal.models.sklearn.linear_svm import LinearSvm
from xal.models.sklearn.logistic_regression import LogisticRegression
from xal.models.sklearn.mlp import Mlp
from xal.models.sklearn.mlp_ensemble import MlpEnsemble
from xal.models.training_data import Fitted, TrainContext, TrainingData

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(120, 6)).astype(np.float32) * [1, 5, 0.1, 1, 1, 1] + 3
X[:, 5] = 2.0  # constant


def labels(classes: int) -> np.ndarray:
    return np.digitize(
        X[:, 0] + GENERATOR.normal(0, 0.3, 120), np.quantile(X[:, 0], np.linspace(0, 1, classes + 1)[1:-1])
    )


def data(y, classes, x=X, copies=None, **options) -> TrainingData:
    """Labelled items, then copies: (inputs, labels)."""
    inputs, given = (x, y) if copies is None else (np.concatenate([x, copies[0]]), np.concatenate([y, copies[1]]))
    return TrainingData(inputs=inputs, labels=given, n_classes=classes, shape=x.shape[1:], n_labelled=len(y), **options)


def fit(model, y, classes, x=X, **options) -> Fitted:
    return model.fit(data(y, classes, x, **options), TrainContext())


def ready(model, fitted, classes, x=X):
    return model.classifier(Weights(arrays=fitted.arrays, shape=x.shape[1:], n_classes=classes))


def classifier(model, y, classes, x=X):
    fitted = fit(model, y, classes, x)
    return ready(model, fitted, classes, x), fitted.metrics["hyperparameter"]


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(
    "model", [LinearSvm(C=(0.5,)), LogisticRegression(C=(0.5,)), Mlp(hidden=(5,), alpha=(0.1,), epochs=30)],
    ids=lambda each: each.name,
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_probabilities_are_scikit_learns(model, classes: int) -> None:
    y = labels(classes)
    found, hyperparameter = classifier(model, y, classes)
    scaled = StandardScaler().fit_transform(X.astype(np.float64))
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    if not hasattr(
        model.head(hyperparameter, 0), "decision_function"
    ):  # scikit-learn calibrates its probabilities, we its logits
        head = model.head(hyperparameter, 0).fit(scaled, y)
        assert (found.outputs(X, "margin").argmax(1) == head.predict(scaled)).all()
        return
    theirs = CalibratedClassifierCV(model.head(hyperparameter, 0), cv=folds, ensemble=False).fit(scaled, y)
    np.testing.assert_allclose(found.probabilities(X).numpy(), theirs.predict_proba(scaled), atol=1e-6)


def test_the_grid_is_searched() -> None:
    y = labels(2)
    assert classifier(LogisticRegression(C=(1e-6, 1.0)), y, 2)[1] == 1.0


def test_a_class_without_labels_has_probability_0() -> None:
    y = labels(2) * 2
    found, _ = classifier(LinearSvm(), y, 3)
    probabilities = found.probabilities(X).numpy()
    assert not probabilities[:, 1].any() and np.allclose(probabilities.sum(1), 1)


def test_a_class_of_one_item_is_not_cross_validated() -> None:
    y = np.zeros(120, np.int64)
    y[0] = 1
    found, hyperparameter = classifier(LogisticRegression(C=(0.3, 1.0, 3.0)), y, 2)
    assert hyperparameter == 1.0 and np.allclose(found.probabilities(X).sum(1), 1)  # the middle of the grid


def test_a_class_of_one_item_changes_little_for_the_others() -> None:
    y = labels(3)
    alone = y.copy()
    alone[0] = 3
    for model in (LogisticRegression(), LinearSvm(), Mlp(epochs=50), MlpEnsemble(steps=100, members=2)):
        without, chosen = classifier(model, y, 3)
        with_it, chosen_with_it = classifier(model, alone, 4)
        right = [(found.probabilities(X).numpy()[1:].argmax(1) == y[1:]).mean() for found in (without, with_it)]
        assert right[1] > right[0] - 0.1 and chosen_with_it >= min(chosen, chosen_with_it)
        assert with_it.probabilities(X).numpy()[:, 3].max() > 0


def test_one_class_cannot_be_learned() -> None:
    with pytest.raises(XalError, match="one class; label more"):
        fit(LinearSvm(), np.zeros(120, np.int64), 2)


def test_one_process_trains() -> None:
    with pytest.raises(XalError, match="trained by one process"):
        LinearSvm().fit(data(labels(2), 2), TrainContext(workers=2))


def test_what_they_provide() -> None:
    """Linear margins of columns and of bags of words, and never gradients."""
    linear = {"linear", "contrastive", "sampled_probabilities"}
    assert LinearSvm().provides == LogisticRegression(encoder=Hashing(bits=8)).provides == linear
    assert Mlp().provides == {"sampled_probabilities"}
    found = classifier(LinearSvm(), labels(2), 2)[0]
    assert isinstance(found, Classifier) and found.provides == linear and found.kind == "features"
    with pytest.raises(XalError, match="needs gradients, and this model has no gradients"):
        check_provided("gradient_shap", found, "gradients")
    assert classifier(Mlp(hidden=(4,), alpha=(0.1,), epochs=2), labels(2), 2)[0].linear() is None


def test_linear_is_what_makes_the_margins() -> None:
    found = classifier(LogisticRegression(C=(1.0,)), labels(2) * 2, 3)[0]
    weights, intercepts, encoding = found.linear()
    np.testing.assert_allclose(encoding.encode(X) @ weights.T + intercepts, found.outputs(X, "margin"), atol=1e-12)
    assert weights.shape == (3, 6) and not weights[1].any()


def test_metrics_count_what_was_learned_from() -> None:
    y = labels(2)
    metrics = fit(LogisticRegression(C=(1.0,)), y, 2, copies=(X[:7], y[:7])).metrics
    assert (metrics["train_items"], metrics["synthetic_items"], metrics["calibrated"]) == (120, 7, True)
    assert not fit(LogisticRegression(C=(1.0,), calibrate=False), y, 2).metrics["calibrated"]


def test_weights_of_copies_are_those_of_the_head() -> None:
    """Of weight 3 a copy counts as three copies."""
    y = labels(2)
    model = LogisticRegression(C=(0.5,), calibrate=False)
    wrong = 1 - y[:40]
    weighted = fit(
        model, y, 2, copies=(X[:40], wrong), sample_weight=np.repeat([1.0, 3.0], [120, 40]), source=np.arange(40)
    )
    three = (np.repeat(X[:40], 3, axis=0), np.repeat(wrong, 3))
    repeated = fit(model, y, 2, copies=three, source=np.repeat(np.arange(40), 3))
    np.testing.assert_allclose(weighted.arrays["head.w"], repeated.arrays["head.w"], atol=1e-3)
    once = fit(model, y, 2, copies=(X[:40], wrong), source=np.arange(40))
    assert np.abs(weighted.arrays["head.w"] - once.arrays["head.w"]).max() > 0.05


def test_wide_bags_are_embedded_in_few_columns() -> None:
    """Distances keep within some percent, more than the 2.2% of a dense projection; an embedding in any company."""
    generator = np.random.default_rng(0)
    vocabulary = np.array([f"w{number}" for number in range(3000)])
    texts = np.array([" ".join(generator.choice(vocabulary, 30)) for _ in range(60)], object)
    narrow, wide = (
        classifier(LogisticRegression(encoder=Hashing(bits=bits)), np.arange(60) % 2, 2, texts)[0] for bits in (10, 16)
    )
    exact = narrow._encoding.encode(texts).toarray()
    assert np.array_equal(narrow.embed(texts)[1].numpy(), exact) and exact.shape == (60, 1024)
    found, whole = wide.embed(texts)[1].numpy(), wide._encoding.encode(texts).toarray()
    assert found.shape == (60, 1024) and whole.shape == (60, 65536)
    ratio = pdist(found) / pdist(whole)
    assert np.sqrt(((ratio - 1) ** 2).mean()) < 0.05 and np.abs(ratio - 1).max() < 0.2
    assert np.array_equal(wide.embed(texts[7:9])[1].numpy(), found[7:9])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_calibration_is_of_the_head_that_learned_from_copies() -> None:
    """Copies that move the head as far as these would leave a calibration by labels alone behind, as here by hand."""
    y = labels(2)
    moved = np.repeat(X, 5, axis=0)
    moved[:, 0] = np.where(np.repeat(y, 5) == 1, moved[:, 0] - 4, moved[:, 0])  # class 1 lies where 0 was, too
    source = np.repeat(np.arange(120), 5)
    model = LogisticRegression(C=(0.5,))
    found = ready(model, fit(model, y, 2, copies=(moved, np.repeat(y, 5)), source=source), 2)
    mean, scale = X.astype(np.float64).mean(0), np.where(X.std(0) > 1e-9, X.astype(np.float64).std(0), 1)
    outputs = np.empty(120)
    for train, test in StratifiedKFold(3, shuffle=True, random_state=0).split(X, y):
        both = [(x - mean) / scale for x in (X[train], moved[np.isin(source, train)])]
        head = model.head(0.5, 0).fit(np.concatenate(both), np.concatenate([y[train], np.repeat(y[train], 5)]))
        outputs[test] = head.decision_function((X[test] - mean) / scale)
    sigmoid = _SigmoidCalibration().fit(outputs, y)
    margin = found.outputs(X, "margin")[:, 1]
    np.testing.assert_allclose(found.probabilities(X).numpy()[:, 1], sigmoid.predict(margin), atol=1e-6)
    plain = classifier(model, y, 2)[0]
    assert np.abs(plain.outputs(X, "margin")[:, 1] - margin).mean() > 1  # the head did move
    strangers = fit(model, y, 2, copies=(moved, np.full(600, 7)), source=np.full(600, -1))
    np.testing.assert_array_equal(strangers.arrays["classes"], [0, 1])  # copies of a class that nobody labelled
    np.testing.assert_array_equal(strangers.arrays["head.w"], fit(model, y, 2).arrays["head.w"])


def test_a_handful_of_labels_is_learned_as_plain_scikit_learn_would() -> None:
    """Four classes with 1, 4, 2 and 1 labels: cross-validation and calibration on so few only told noise."""
    from sklearn.linear_model import LogisticRegression as Plain

    right = np.zeros(2)
    y = np.repeat(np.arange(4), [1, 4, 2, 1])
    for seed in range(12):
        generator = np.random.default_rng(seed)
        means = generator.normal(size=(4, 8))
        x, truth = means[y] + 0.7 * generator.normal(size=(8, 8)), generator.integers(0, 4, 200)
        test = means[truth] + 0.7 * generator.normal(size=(200, 8))
        given = TrainingData(inputs=x, labels=y, n_classes=4, shape=(8,), n_labelled=8)
        fitted = LogisticRegression().fit(given, TrainContext())
        ready = LogisticRegression().classifier(Weights(arrays=fitted.arrays, shape=(8,), n_classes=4))
        scale = x.std(axis=0)
        plain = Plain().fit((x - x.mean(axis=0)) / scale, y).predict((test - x.mean(axis=0)) / scale)
        found = ready.probabilities(torch.from_numpy(test)).numpy().argmax(axis=1)
        right += (found == truth).mean() / 12, (plain == truth).mean() / 12
    assert right[0] > right[1] - 0.03
