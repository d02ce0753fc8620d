"""Explanations against what truly matters, by hand."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from tests.campaign.test_corrections import QUIET, told_recipe
from xal import words
from xal.campaign.exact import against_exact, recall_at
from xal.campaign.experiment import run_experiment
from xal.campaign.explain import explain_labelled, off_reasons
from xal.campaign.recipe import Recipe
from xal.campaign.truth import Truth, distance, f1, on_irrelevant, recall
from xal.config import parse
from xal.data.confounded import build_colors, decoy
from xal.errors import DataError, RunError
from xal.report.page import arms_of
from xal.report.reasons import write_reasons
from xal.report.rules import decomposed, rule_vectors, write_rules
from xal.report.runs import read_run
from xal.report.trust import trust_table
from xal.types import Explanations


def explained(attributions: object, segments: object = None, of: int = 1) -> Explanations:
    return Explanations(
        attributions=attributions,
        represented=attributions,
        explained_class=np.array([of]),
        probability=np.array([0.9]),
        segments=segments,
    )


def test_a_row_of_a_table() -> None:
    truth = Truth(payload=np.zeros(4), components=frozenset({0, 3}), relevant=True)
    given = explained(np.array([[0.6, -0.3, 0.0, 0.1]]))
    assert f1(truth, given, 2) == pytest.approx(2 * 1 / (2 + 2)) and f1(truth, given, None) == pytest.approx(4 / 5)
    assert f1(truth, given, "gold") == f1(truth, given, 2)
    assert recall(truth, given) == 0.5 and on_irrelevant(truth, given) == pytest.approx(0.3)
    assert distance(truth, given, label=1) == pytest.approx(0.4**2 + 0.3**2 + 0.9**2)
    assert distance(truth, given, label=0) == pytest.approx(1.6**2 + 0.3**2 + 1.1**2)
    opposite = dataclasses.replace(truth, relevant=False)
    assert on_irrelevant(opposite, given) == pytest.approx(0.7) and f1(opposite, given, 1) == 0.0


def test_a_category_matters_as_a_whole() -> None:
    truth = Truth(payload=np.zeros(6), components=frozenset({1, 4, 5}), relevant=True)
    assert truth.together(1) is truth and truth.together(2).components == {0, 1, 4, 5}
    assert dataclasses.replace(truth, relevant=False).together(2).components == {4, 5}
    assert dataclasses.replace(truth, payload="a b").together(2).components == {1, 4, 5}


def test_patches_of_an_image_count_with_their_pixels() -> None:
    image = np.zeros((1, 2, 3))
    truth = Truth(payload=image, components=frozenset({2, 5}), relevant=False)  # the right column
    given = explained(np.array([[0.5, 1.0]]), np.array([[[0, 0, 1], [0, 0, 1]]]))
    assert truth.all(given) == [0, 1] and truth.of(given, (0, 1)) == [True, False]
    assert on_irrelevant(truth, given) == pytest.approx(2 * 1.0 / (4 * 0.5 + 2 * 1.0))
    assert f1(truth, given, 1) == 0.0 and f1(truth, given, None) == pytest.approx(2 / 3)


def test_a_text() -> None:
    good, plot = words.column("good"), words.column("plot")
    places = np.zeros(2, int), np.array([good, plot])
    row = sparse.csr_array((np.array([0.8, -0.2]), places), shape=(1, words.COLUMNS))
    truth = Truth(payload="good plot", components=frozenset({good}), relevant=True)
    assert f1(truth, explained(row), 1) == 1.0 and on_irrelevant(truth, explained(row)) == pytest.approx(0.2)


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
    given = dataclasses.replace(recipe, pool=dataclasses.replace(recipe.pool, test=recipe.pool.source), judge=30)
    run_experiment(given, tmp_path / "runs", QUIET)
    run = read_run(next((tmp_path / "runs").glob("*-seed*")))
    found = explain_labelled(run.directory, 20)
    shares, where = off_reasons(found)
    assert where[:, :6].all() and not where[:, 6:].any()  # told() says so of the upper half
    by_hand = [np.abs(heat[:6]).sum() / np.abs(heat).sum() for heat in found.explanations.heat]
    np.testing.assert_allclose(shares, by_hand, rtol=1e-9)
    picture, means = write_reasons({"one": found}, tmp_path / "deep" / "reasons.png")
    assert picture.read_bytes()[:4] == b"\x89PNG" and means == {"one": pytest.approx(np.mean(by_hand))}
    judged = run.of("evaluate")[2].figures
    assert 0 < judged["on_irrelevant"] < 1 and "explanation_loss" not in judged
    rows = trust_table([run])
    assert [row["round"] for row in rows] == [0, 1, 2] and rows[0]["right_for_right"] is None
    assert sum(rows[1][name] for name in ("right_for_right", "right_for_wrong", "wrong")) == pytest.approx(1)
    assert rows[2]["on_irrelevant_test"] == judged["on_irrelevant"]
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
    truth = np.array([[3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, 3.0]])
    found = np.array([[3.0, 0.0, 2.0, 1.0], [0.0, 1.0, 2.0, 3.0]])
    assert recall_at(2, truth, found).tolist() == [0.5, 1.0]
    recipe = colors_recipe(
        tmp_path,
        "onehot",
        model={"name": "senn", "layers": 1},
        train={"validation": 0, "epochs": 10, "threads": 1},
        explainer="self_explaining",
        feedback={"name": "cali_ranking", "shown": None, "most": 2},
        judge=10,
    )
    always = {"annotator": {"name": "simulated", "corrects": "always"}}
    recipe = dataclasses.replace(recipe, annotator=parse(Recipe, always).annotator)
    run_experiment(recipe, tmp_path / "runs", QUIET)
    run = read_run(next((tmp_path / "runs").glob("*-seed*")))
    assert run.of("label")[1].figures["corrected_components"] == 10
    assert run.of("evaluate")[1].figures["explanation_loss"] > 0
    few, many = against_exact(run.directory, [20, 2000], [1], 10, 5)
    assert 0 <= few.recall < many.recall <= 1 and many.ms > few.ms
