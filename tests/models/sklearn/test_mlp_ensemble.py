"""The ensemble: it learns what lines cannot, its mean is that of its members, and these differ where classes meet."""

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from xal.models.model import Weights
from xal.models.sklearn.mlp_ensemble import MlpEnsemble
from xal.models.training_data import TrainContext, TrainingData

GENERATOR = np.random.default_rng(0)
X = GENERATOR.uniform(-1, 1, (300, 4)).astype(np.float32)
XOR = ((X[:, 0] > 0) ^ (X[:, 1] > 0)).astype(np.int64)
MODEL = MlpEnsemble(members=4, hidden=32, dropout=0.2, weight_decay=(0.01,), lr=5e-3)


def fitted(model: MlpEnsemble, x=X, y=XOR, classes: int = 2):
    data = TrainingData(inputs=x, labels=y, n_classes=classes, shape=x.shape[1:], n_labelled=len(y))
    arrays = model.fit(data, TrainContext(seed=3)).arrays
    return arrays, model.classifier(Weights(arrays=arrays, shape=x.shape[1:], n_classes=classes))


def test_it_learns_what_no_line_separates() -> None:
    _, classifier = fitted(MODEL)
    new = GENERATOR.uniform(-1, 1, (200, 4)).astype(np.float32)
    found = classifier.probabilities(new).numpy()
    assert ((found.argmax(1) == ((new[:, 0] > 0) ^ (new[:, 1] > 0))).mean()) > 0.9
    np.testing.assert_allclose(found.sum(1), 1)


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_are_the_members_mean(classes: int) -> None:
    """Reference: each member as a torch module of its own."""
    y = XOR if classes == 2 else (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0.5)
    model = MlpEnsemble(members=3, hidden=8, weight_decay=(0.01,), steps=50, calibrate=False)
    arrays, classifier = fitted(model, y=y, classes=classes)
    state = {name: torch.from_numpy(values) for name, values in arrays.items()}
    x = ((torch.from_numpy(X).double() - state["mean"]) / state["scale"]).float()  # the columns of a table are scaled
    x = (x - state["head.mean"]) / state["head.scale"]
    expected = 0.0
    for member in range(3):
        first, last = nn.Linear(4, 8), nn.Linear(8, classes)
        for layer, name in ((first, "0"), (last, "1")):
            layer.weight.data = state[f"head.w{name}"][member].T
            layer.bias.data = state[f"head.b{name}"][member, 0]
        expected = expected + torch.softmax(last(torch.relu(first(x))), dim=1) / 3
    np.testing.assert_allclose(classifier.probabilities(X), expected.detach(), atol=1e-5)


def test_members_differ_most_where_the_classes_meet() -> None:
    arrays, _ = fitted(MODEL)
    head = {name.removeprefix("head."): values for name, values in arrays.items() if name.startswith("head.")}
    spread = MODEL.member_probabilities(X, head).std(axis=0)[:, 0]
    edge = np.abs(X[:, :2]).min(axis=1) < 0.1
    assert spread[edge].mean() > 2 * spread[~edge].mean() > 0


def test_sparse_vectors_and_the_seed() -> None:
    one, other = (fitted(MODEL)[0] for _ in range(2))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    head = MODEL.head(0.01, 0).fit(sparse.csr_array(X), XOR)
    np.testing.assert_allclose(MODEL.outputs(sparse.csr_array(X), head.state), MODEL.outputs(X, head.state), rtol=1e-6)
