"""Explanation disagreement against the matrices of the paper, and its extensions by loops."""

import dataclasses

import numpy as np
import pytest

from tests.strategies.samples import evidence, explanations
from xal.core.rng import HashRng
from xal.errors import XalError
from xal.strategies.explanation_disagreement import ExplanationDisagreement, disagreement, retrieval
from xal.types import Labelled

RNG = HashRng(0)


@pytest.mark.parametrize("kind", ["words", "patches", "columns"])
def test_explanation_disagreement_is_the_papers_matrices(kind: str) -> None:
    given = explanations(30, 1, as_sparse=kind == "words")
    if kind == "patches":
        given = dataclasses.replace(given, segments=np.arange(12).reshape(1, 3, 4).repeat(30, 0))
    pool = explanations(50, 2, as_sparse=kind == "words").interpretable_input
    dense = explanations(30, 1)
    q, x = dense.attributions, dense.interpretable_input
    x_pool = explanations(50, 2).interpretable_input
    if kind == "columns":  # of a table: standardised over the sample
        mean, scale = x.mean(axis=0), x.std(axis=0)
        x, x_pool = (x - mean) / scale, (x_pool - mean) / scale
    a = (q * x) @ (q * x).T
    b = (dense.explained_class[:, None] != dense.explained_class[None]).astype(float)
    c = (a * b) @ np.ones(30)
    s = x_pool @ (np.outer(c, np.ones(12)) * x).T
    w = s @ np.ones(30)
    strategy = ExplanationDisagreement()
    state = strategy.prepare(None, evidence(30, 1, explanations=given), None)
    found = strategy.score(evidence(50, 2, interpretable_input=pool), state, RNG)
    same = found - w  # of a table but for a constant
    np.testing.assert_allclose(same, same[0] if kind == "columns" else 0.0, atol=1e-11)
    assert np.abs(w).max() > 1


def test_the_papers_worked_example() -> None:
    """A and B of equation 4 give C of 5, that and X'_s of 8 the vectors of 10; z with that A: a Cholesky root."""
    a = np.array([[1.0, 0.7, 0.8], [0.7, 1.0, 0.3], [0.8, 0.3, 1.0]])
    z = np.linalg.cholesky(a)
    classes = np.array([0, 1, 1])
    b = (classes[:, None] != classes[None]).astype(float)
    np.testing.assert_allclose((a * b).sum(1), [1.5, 0.7, 0.8])
    c = disagreement(z, classes)
    np.testing.assert_allclose(c, [1.5, 0.7, 0.8])
    x = np.array([[0.7, 0.2], [0.34, 1.15], [-0.1, 3.0]])
    found = retrieval(x, c)
    weighted = [[1.5 * 0.7, 1.5 * 0.2], [0.7 * 0.34, 0.7 * 1.15], [0.8 * -0.1, 0.8 * 3]]
    np.testing.assert_allclose(found.dense, np.sum(weighted, axis=0))
    np.testing.assert_allclose(found.dense, [1.208, 3.505])


def test_both_extensions_by_loops() -> None:
    predicted, true = explanations(20, 3), explanations(20, 4)
    true = dataclasses.replace(true, interpretable_input=predicted.interpretable_input)
    labels = np.random.default_rng(5).integers(0, 3, 20)
    labelled = Labelled(evidence=evidence(20, 3, explanations=predicted), labels=labels, explanations=true)
    mean, scale = predicted.interpretable_input.mean(axis=0), predicted.interpretable_input.std(axis=0)
    x = (predicted.interpretable_input - mean) / scale  # a table is standardised, and v goes back to its units
    z, t = predicted.attributions * x, true.attributions * x
    v = np.zeros(12)
    for i in range(20):
        v += (predicted.explained_class[i] != labels[i]) * float(z[i] @ t[i]) * x[i]
    state = ExplanationDisagreement(of="mispredicted").prepare(labelled, None, None)
    np.testing.assert_allclose(state.dense, v / scale, atol=1e-12)
    v = np.zeros(12)
    for i in range(20):
        v += sum(float(t[i] @ t[j]) for j in range(20) if labels[i] != labels[j]) * x[i]
    alone = dataclasses.replace(labelled, evidence=evidence(20, 3))  # those of the predicted class are not asked for
    assert ExplanationDisagreement(of="labels").prepare_needs == {"label_explanations"}
    state = ExplanationDisagreement(of="labels").prepare(alone, None, None)
    np.testing.assert_allclose(state.dense, v / scale, atol=1e-12)
    assert np.abs(v).max() > 1


def test_features_of_an_images_own_cannot_be_compared() -> None:
    given = explanations(4, 1)
    ebano = dataclasses.replace(given, per_item=True)
    with pytest.raises(XalError, match="choose another explainer"):
        ExplanationDisagreement().prepare(None, evidence(4, 1, explanations=ebano), None)


@pytest.mark.parametrize("of", ["sample", "labels", "mispredicted"])
def test_where_nothing_disagrees_the_query_is_random(of: str) -> None:
    given = dataclasses.replace(explanations(8, 1), explained_class=np.zeros(8, np.int64))
    strategy = ExplanationDisagreement(of=of)
    known = Labelled(evidence=evidence(8, 1, explanations=given), labels=np.zeros(8, np.int64), explanations=given)
    sample = evidence(8, 1, explanations=given) if of == "sample" else None
    state = strategy.prepare(None if of == "sample" else known, sample, None)
    pool = evidence(40, 2, interpretable_input=explanations(40, 2).interpretable_input)
    np.testing.assert_array_equal(strategy.score(pool, state, RNG), RNG.uniform(pool.ids))


@pytest.mark.parametrize("of", ["sample", "mispredicted", "labels"])
def test_a_tables_units_decide_nothing(of: str) -> None:
    """The same items in other units, one column constant: attributions have no units, x' has."""
    given, others = explanations(30, 1), explanations(50, 2).interpretable_input
    given.interpretable_input[:, 3] = others[:, 3] = 7.0
    units, origin = 10.0 ** np.arange(-6, 6), np.linspace(-5, 5, 12)
    orders = []
    for change in (lambda x: x, lambda x: x * units + origin):
        here = dataclasses.replace(given, interpretable_input=change(given.interpretable_input))
        true = dataclasses.replace(here, attributions=np.roll(here.attributions, 1, axis=0))
        labels = np.arange(30) % 3
        labelled = Labelled(evidence=evidence(30, 1, explanations=here), labels=labels, explanations=true)
        strategy = ExplanationDisagreement(of=of)  # type: ignore[arg-type]
        state = strategy.prepare(labelled, evidence(30, 1, explanations=here), None)
        scores = strategy.score(evidence(50, 2, interpretable_input=change(others)), state, RNG)
        orders.append(scores.argsort().tolist())
    assert orders[0] == orders[1]
