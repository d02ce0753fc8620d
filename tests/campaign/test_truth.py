"""Explanations against what truly matters, by hand."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from tests.campaign.test_corrections import QUIET, told_recipe
from xal.campaign.experiment import run_experiment
from xal.campaign.explained_images import explain_labelled, off_reasons
from xal.campaign.lime_fidelity import against_exact, recall_at
from xal.campaign.recipe import Recipe
from xal.core import hashed_words
from xal.core.config import parse
from xal.datasets.colors import build_colors
from xal.datasets.decoy import decoy
from xal.errors import DataError, RunError
from xal.evaluation.relevance import Relevance, distance, f1, on_irrelevant, recall
from xal.report.html import arms_of
from xal.report.reasons import write_reasons
from xal.report.right_reasons import trust_table
from xal.report.rules import decomposed, rule_vectors, write_rules
from xal.store.run import read_run
from xal.types import Explanations


def explained(attributions: object, segments: object = None, of: int = 1) -> Explanations:
    return Explanations(
        attributions=attributions,
        interpretable_input=attributions,
        explained_class=np.array([of]),
        probability=np.array([0.9]),
        segments=segments,
    )


def test_a_row_of_a_table() -> None:
    relevance = Relevance(payload=np.zeros(4), components=frozenset({0, 3}), relevant=True)
    given = explained(np.array([[0.6, -0.3, 0.0, 0.1]]))
    assert f1(relevance, given, 2) == pytest.approx(2 * 1 / (2 + 2)) and f1(relevance, given, None) == pytest.approx(
        4 / 5
    )
    assert f1(relevance, given, "gold") == f1(relevance, given, 2)
    assert recall(relevance, given) == 0.5 and on_irrelevant(relevance, given) == pytest.approx(0.3)
    assert distance(relevance, given, label=1) == pytest.approx(0.4**2 + 0.3**2 + 0.9**2)
    assert distance(relevance, given, label=0) == pytest.approx(1.6**2 + 0.3**2 + 1.1**2)
    opposite = dataclasses.replace(relevance, relevant=False)
    assert on_irrelevant(opposite, given) == pytest.approx(0.7) and f1(opposite, given, 1) == 0.0


def test_a_category_matters_as_a_whole() -> None:
    relevance = Relevance(payload=np.zeros(6), components=frozenset({1, 4, 5}), relevant=True)
    assert relevance.merge_onehot(1) is relevance and relevance.merge_onehot(2).components == {0, 1, 4, 5}
    assert dataclasses.replace(relevance, relevant=False).merge_onehot(2).components == {4, 5}
    assert dataclasses.replace(relevance, payload="a b").merge_onehot(2).components == {1, 4, 5}


def test_patches_of_an_image_count_with_their_pixels() -> None:
    image = np.zeros((1, 2, 3))
    relevance = Relevance(payload=image, components=frozenset({2, 5}), relevant=False)  # the right column
    given = explained(np.array([[0.5, 1.0]]), np.array([[[0, 0, 1], [0, 0, 1]]]))
    assert relevance.all(given) == [0, 1] and relevance.of(given, (0, 1)) == [True, False]
    assert on_irrelevant(relevance, given) == pytest.approx(2 * 1.0 / (4 * 0.5 + 2 * 1.0))
    assert f1(relevance, given, 1) == 0.0 and f1(relevance, given, None) == pytest.approx(2 / 3)


def test_a_text() -> None:
    good, plot = hashed_words.column("good"), hashed_words.column("plot")
    places = np.zeros(2, int), np.array([good, plot])
    row = sparse.csr_array((np.array([0.8, -0.2]), places), shape=(1, hashed_words.COLUMNS))
    relevance = Relevance(payload="good plot", components=frozenset({good}), relevant=True)
    assert f1(relevance, explained(row), 1) == 1.0 and on_irrelevant(relevance, explained(row)) == pytest.approx(0.2)


def test_a_decoy_is_a_corner_and_its_shade_the_class() -> None:
    images = np.full((40, 1, 28, 28), 7, np.uint8)
    labels = np.arange(40) % 10
    painted, where = decoy(images, labels, labels, seed=0)
    assert (where.sum(axis=(1, 2)) == 16).all() and (painted[~where[:, None]] == 7).all()
    corners = {tuple(np.argwhere(mask)[0].tolist()) for mask in where}
    assert corners == {(0, 0), (0, 24), (24, 0), (24, 24)}
    for image, mask, label in zip(painted, where, labels, strict=True):
        assert set(image[0][mask].tolist()) == {255 - 25 * label}
    np.testing.assert_array_equal(images, 7)


def test_reasons_of_a_run(tmp_path: Path) -> None:
    recipe = told_recipe(tmp_path, feedback={"name": "rrr", "shown": 20})
    given = dataclasses.replace(
        recipe, pool=dataclasses.replace(recipe.pool, test=recipe.pool.source), evaluate_explanations=30
    )
    run_experiment(given, tmp_path / "runs", QUIET)
    run = read_run(next((tmp_path / "runs").glob("*-seed*")))
    found = explain_labelled(run.directory, 20)
    shares, where = off_reasons(found)
    assert where[:, :6].all() and not where[:, 6:].any()  # told() says so of the upper half
    by_hand = [np.abs(heat[:6]).sum() / np.abs(heat).sum() for heat in found.explanations.heat]
    np.testing.assert_allclose(shares, by_hand, rtol=1e-9)
    picture, means = write_reasons({"one": found}, tmp_path / "deep" / "reasons.png")
    assert picture.read_bytes()[:4] == b"\x89PNG" and means == {"one": pytest.approx(np.mean(by_hand))}
    are_relevant = run.of("evaluate")[2].metrics
    assert 0 < are_relevant["on_irrelevant"] < 1 and "explanation_loss" not in are_relevant
    rows = trust_table([run])
    assert [row["round"] for row in rows] == [0, 1, 2] and rows[0]["right_for_right"] is None
    assert sum(rows[1][name] for name in ("right_for_right", "right_for_wrong", "wrong")) == pytest.approx(1)
    assert rows[2]["on_irrelevant_test"] == are_relevant["on_irrelevant"]
    with pytest.raises(RunError, match="has no self-explaining model"):
        against_exact(run.directory, [10], [1], 5, 2)
    with pytest.raises(RunError, match="rules are found in linear models"):
        decomposed(run)
    plain = dataclasses.replace(found, pool=dataclasses.replace(found.pool, columns=("id", "image", "label")))
    with pytest.raises(DataError, match="does not say what matters"):
        off_reasons(plain)


def colors_recipe(tmp_path: Path, encoding: str, **sections: object) -> Recipe:
    build_colors(tmp_path / "pool", items=300, rule=0, encoding=encoding)  # type: ignore[arg-type]
    mapping = {
        "pool": {"source": str(tmp_path / "pool"), "test": str(tmp_path / "pool")},
        "annotator": "simulated",
        "strategy": "margin",
        "budget": {"initial": 100, "balanced": True, "per_round": 5, "rounds": 1},
        "engine": "serial",
    }
    found: Recipe = parse(Recipe, mapping | sections)
    return found


def test_the_rules_in_a_linear_model(tmp_path: Path) -> None:
    zero, one = rule_vectors()
    assert zero.sum() == 6 and one.sum() == -3 and zero @ one == 0
    recipe = colors_recipe(
        tmp_path,
        "codes",
        model={"name": "linear_svm", "encoder": "equal_pairs", "penalty": "l1", "C": [1.0], "calibrate": False},
        explainer={"name": "lime", "output": "margin", "samples": 40, "background": 2},
        feedback={"name": "unused", "shown": 4},
    )
    run_experiment(recipe, tmp_path / "runs", QUIET)
    run = read_run(next((tmp_path / "runs").glob("*-seed*")))
    found = decomposed(run)
    assert found.shape == (2, 2) and (found > 0).any()  # what tells the classes apart are the rules
    figure, rows = write_rules(arms_of([run]), tmp_path / "rules.svg")
    assert figure.read_text().startswith("<?xml") and rows[0]["rule 0"].mean == found[-1, 0]


def test_lime_against_the_exact_explanation(tmp_path: Path) -> None:
    relevance = np.array([[3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, 3.0]])
    found = np.array([[3.0, 0.0, 2.0, 1.0], [0.0, 1.0, 2.0, 3.0]])
    assert recall_at(2, relevance, found).tolist() == [0.5, 1.0]
    recipe = colors_recipe(
        tmp_path,
        "onehot",
        model={"name": "senn", "layers": 1},
        train={"validation": 0, "epochs": 10, "threads": 1},
        explainer="self_explaining",
        feedback={"name": "cali_ranking", "shown": None, "max_corrections": 2},
        evaluate_explanations=10,
    )
    always = {"annotator": {"name": "simulated", "corrects": "always"}}
    recipe = dataclasses.replace(recipe, annotator=parse(Recipe, always).annotator)
    run_experiment(recipe, tmp_path / "runs", QUIET)
    run = read_run(next((tmp_path / "runs").glob("*-seed*")))
    assert run.of("label")[1].metrics["corrected_components"] == 10
    assert run.of("evaluate")[1].metrics["explanation_loss"] > 0
    few, many = against_exact(run.directory, [20, 2000], [1], 10, 5)
    assert 0 <= few.recall < many.recall <= 1 and many.ms > few.ms
