"""What would end a campaign late is refused before it begins, all of it at once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.recipes import CLASSES, QUIET, corrected_recipe, features_pool, small, text_pool, text_recipe, write_pool
from xal.annotators.oracle import Oracle
from xal.campaign.experiment import run_experiment
from xal.campaign.recipe import Recipe
from xal.campaign.validation import checked_pools
from xal.core.config import parse
from xal.datasets.colors import build_colors
from xal.errors import ConfigError, DataError, XalError


def alone(pool: Path, **sections: Any) -> Recipe:
    """Without a test pool."""
    given = text_recipe(pool, pool, **{"arms": None, "strategy": "margin"} | sections)
    return replace(given, pool=replace(given.pool, test=None))


def test_pools_that_do_not_fit_together_are_all_named(tmp_path: Path) -> None:
    blind = write_pool(tmp_path / "pool", label=None)
    strange = write_pool(tmp_path / "test", n=20, label=["odd"] * 20)
    words = text_pool(tmp_path / "words.parquet", 20, 0)
    given = small(
        blind,
        pool={"classes": ["dark", "light", "striped"], "test": str(strange), "validation": str(words)},
    )
    with pytest.raises(ConfigError) as raised:
        checked_pools(given)
    assert [problem.split(":")[0] for problem in raised.value.problems] == [
        "pool.test",
        "pool.validation",
        "annotator",
    ]
    assert "labels outside the classes: odd" in str(raised.value) and "holds text, the pool image" in str(raised.value)
    table = features_pool(tmp_path / "table.parquet", 40)
    with pytest.raises(ConfigError, match=r"nothing to evaluate on(?s:.*)only images can be flipped"):
        checked_pools(
            alone(
                table,
                model="logistic_regression",
                train={"validation": 0, "flip": True},
            )
        )


def test_all_that_corrections_lack_is_said_before_the_first_round(tmp_path: Path) -> None:
    plain = write_pool(tmp_path / "plain")
    given = small(
        plain,
        pool={"test": str(plain)},
        strategy="margin",
        explainer="gradient_shap",
        annotator="simulated",
        model={"name": "perceptron"},
        feedback="rrr_gradcam",
        evaluate_explanations=5,
    )
    with pytest.raises(ConfigError) as raised:
        checked_pools(given)
    for part in (
        "`relevant` or `irrelevant`; use",
        "'rrr_gradcam' needs conv layers, and model 'perceptron' has no convolutions",
        "evaluate_explanations: give a pool.test",
    ):
        assert part in str(raised.value)
    blind = write_pool(tmp_path / "blind", label=None)
    unlabelled = replace(given, pool=replace(given.pool, source=str(blind), classes=CLASSES))
    with pytest.raises(ConfigError, match="'simulated' answers from the pool's labels"):
        checked_pools(unlabelled)
    with pytest.raises(ConfigError, match="the oracle corrects nothing"):
        checked_pools(replace(given, annotator=Oracle()))
    with pytest.raises(ConfigError, match="evaluate_explanations: nothing is explained"):
        checked_pools(replace(given, feedback=None, explainer=None))
    build_colors(tmp_path / "colors", items=40, rule=1, encoding="codes")
    table = parse(Recipe, {
        "pool": {"source": str(tmp_path / "colors"), "test": str(tmp_path / "colors")}, "model": "linear_svm",
        "strategy": "margin", "explainer": "lime", "annotator": "simulated", "budget": {"initial": 20, "rounds": 0},
        "feedback": {"name": "counterexamples", "onehot_width": 4},
    })  # fmt: skip
    with pytest.raises(ConfigError, match="25 columns cannot be split into groups of 4"):
        checked_pools(table)


def test_a_phi_that_is_none_is_said_before_labels_are_asked_for(tmp_path: Path) -> None:
    build_colors(tmp_path / "pool", items=40, rule=0, encoding="onehot")
    recipe = parse(Recipe, {
        "pool": {"source": str(tmp_path / "pool"), "test": str(tmp_path / "pool")}, "strategy": "margin",
        "model": {"name": "senn", "phi": "dense"}, "explainer": "self_explaining",
        "budget": {"initial": 9, "rounds": 0},
    })  # fmt: skip
    with pytest.raises(XalError, match="expected identity, learned, or package.module:function"):
        checked_pools(recipe)


def test_a_pool_that_does_not_know(tmp_path: Path) -> None:
    recipe = corrected_recipe(tmp_path, feedback={"name": "unused", "shown": 5})
    plain = replace(recipe.pool, source=str(write_pool(tmp_path / "plain")))
    with pytest.raises(XalError, match="a column `relevant` or `irrelevant`"):
        run_experiment(replace(recipe, pool=plain), tmp_path / "runs", QUIET)


def test_kinds_that_do_not_fit_are_refused(tmp_path: Path, text_pools: tuple[Path, Path]) -> None:
    for sections, problem in (
        ({"model": "convnet"}, "'convnet' takes image, the pool holds text"),
        ({"model": "linear_svm"}, "'linear_svm' takes features, the pool holds text"),
        (
            {"explainer": "ebano", "arms": {"random": "random"}},
            "'ebano' needs conv_layers, which model 'linear_svm' does not have",
        ),
    ):
        with pytest.raises(ConfigError, match=problem):
            run_experiment(text_recipe(*text_pools, **sections), tmp_path / "runs", QUIET)


def test_budget_over_pool(tmp_path: Path) -> None:
    recipe = small(write_pool(tmp_path / "pool"), budget={"initial": 100, "per_round": 30, "rounds": 2})
    with pytest.raises(ConfigError, match=r"100 \+ 2 x 30 = 160 labels, but the pool holds 120; lower initial"):
        run_experiment(recipe, tmp_path / "runs", QUIET)
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("database")
def test_oracle_without_labels_or_with_strange_ones(tmp_path: Path) -> None:
    classes = {"classes": list(CLASSES)}
    blind = small(write_pool(tmp_path / "blind", label=None), pool=classes)
    with pytest.raises(ConfigError, match="annotator: file"):
        run_experiment(blind, tmp_path / "a", QUIET)
    strange = small(write_pool(tmp_path / "strange", label=["odd"] * 120), pool=classes)
    with pytest.raises(ConfigError, match=r"labels outside the classes: odd; list all in pool\.classes"):
        run_experiment(strange, tmp_path / "b", QUIET)
    unknown = small(write_pool(tmp_path / "unknown", label=None))
    with pytest.raises(ConfigError, match=r"pool\.classes"):
        run_experiment(unknown, tmp_path / "c", QUIET)


def test_a_pool_without_ids_and_a_pool_of_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="`id`"):
        checked_pools(small(write_pool(tmp_path / "nameless", id=None)))
    texts = write_pool(tmp_path / "texts", image=None, text=pa.array(["some words"] * 120))
    with pytest.raises(ConfigError, match="'convnet' takes image, the pool holds text"):
        run_experiment(small(texts), tmp_path / "runs", QUIET)


def test_an_unknown_class_in_the_test_pool(tmp_path: Path) -> None:
    recipe: Recipe = small(
        write_pool(tmp_path / "pool"), pool={"test": str(write_pool(tmp_path / "test", n=20, label=["odd"] * 20))}
    )
    with pytest.raises(Exception, match="labels outside the classes: odd"):
        run_experiment(recipe, tmp_path / "runs", QUIET)


def test_what_cannot_be_balanced_or_validated_is_refused(tmp_path: Path) -> None:
    unlabelled = write_pool(tmp_path / "unlabelled", label=None)
    classes = {"classes": list(CLASSES)}
    with pytest.raises(ConfigError, match="annotator: file"):
        run_experiment(
            small(unlabelled, pool=classes, strategy="random", budget={"balanced": True}), tmp_path / "a", QUIET
        )
    with pytest.raises(DataError, match=r"pool\.validation: .* has no `label` column"):
        run_experiment(
            small(write_pool(tmp_path / "pool"), pool={"validation": str(unlabelled)}), tmp_path / "b", QUIET
        )
    with pytest.raises(DataError, match="class 'dark' has .* 40 are needed"):
        run_experiment(
            small(tmp_path / "pool", strategy="random", budget={"initial": 119, "rounds": 0, "balanced": True}),
            tmp_path / "c",
            QUIET,
        )
    strange = write_pool(tmp_path / "strange", n=10, label=["unheard of"] * 10)
    with pytest.raises(ConfigError, match="labels outside the classes: unheard of"):
        run_experiment(
            small(tmp_path / "pool", pool={"validation": str(strange)}, strategy="random"), tmp_path / "d", QUIET
        )
