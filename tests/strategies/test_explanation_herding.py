"""Explanation herding: uncertainty herding on explanations in place of embeddings."""

import numpy as np
import pytest

import xal
from tests.strategies.arrays import asked, blobs
from xal.errors import ConfigError, XalError
from xal.types import Explanations


def given(n: int = 200):
    embeddings, probabilities = blobs(n)
    contrastive = np.random.default_rng(3).normal(size=(n, 6))
    return embeddings, probabilities, contrastive, list(range(0, n, 10))


def test_contrastive_explanations_take_the_place_of_embeddings() -> None:
    _, probabilities, contrastive, labelled = given()
    found = asked("explanation_herding", 15, probabilities=probabilities, contrastive=contrastive, labelled=labelled)
    theirs = asked("uncertainty_herding", 15, probabilities=probabilities, embeddings=contrastive, labelled=labelled)
    assert found == theirs


def test_side_by_side_with_embeddings() -> None:
    embeddings, probabilities, contrastive, labelled = given()
    parts = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (contrastive, embeddings)]
    both = {"name": "explanation_herding", "with_embeddings": True}
    found = asked(
        both, 15, probabilities=probabilities, embeddings=embeddings, contrastive=contrastive, labelled=labelled
    )
    joined = np.concatenate(parts, axis=1)
    assert found == asked("uncertainty_herding", 15, probabilities=probabilities, embeddings=joined, labelled=labelled)


def test_explanations_of_any_explainer() -> None:
    _, probabilities, contrastive, labelled = given()
    explanations = Explanations(
        feature_kind="columns",
        attributions=contrastive,
        interpretable_input=np.ones_like(contrastive),
        explained_class=probabilities.argmax(axis=1),
        probability=probabilities.max(axis=1),
    )
    strategy = {"name": "explanation_herding", "explanations": "explainer"}
    found = asked(strategy, 15, probabilities=probabilities, explanations=explanations, labelled=labelled)
    theirs = asked("uncertainty_herding", 15, probabilities=probabilities, embeddings=contrastive, labelled=labelled)
    assert found == theirs


def test_what_is_missing_is_named() -> None:
    _, probabilities, _, _ = given()
    with pytest.raises(XalError, match="needs contrastive; pass contrastive="):
        xal.query("explanation_herding", probabilities=probabilities, n=3)
    with pytest.raises(ConfigError, match="contrastive, which model 'mlp' does not give; use a model that ends with"):
        xal.Recipe(
            model=xal.Model.registry["mlp"](), strategy=xal.Strategy.named("explanation_herding")(), explainer=None
        )
