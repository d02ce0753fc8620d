"""What of a recipe's parts does not fit together is refused, all of it at once; and what a recipe takes by default."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.recipes import QUIET, small, text_pool, text_recipe, write_pool
from xal.annotators import Annotator
from xal.campaign.experiment import run_experiment
from xal.campaign.recipe import Recipe, load
from xal.core.config import parse, unparse
from xal.errors import ConfigError, XalError
from xal.feedback import Feedback
from xal.models import Model
from xal.strategies import Strategy
from xal.strategies.ebano_augment import EbanoAugment

AUGMENT = {"name": "ebano_augment", "candidates": 40, "threshold": -2, "limit": 6, "augment_limit": 4}


@pytest.mark.parametrize(
    ("sections", "problems"),
    [
        ({"model": "linear_svm", "explainer": "gradient_shap"}, ["needs gradients, which model 'linear_svm'"]),
        ({"model": "mlp", "explainer": "shap_linear"}, ["needs linear, which model 'mlp'"]),
        ({"explainers": {"alex": "integrated_gradients"}}, ["needs gradients, which model 'linear_svm'"]),
        (
            {"arms": None, "strategy": "ebano_uncertainty"},
            ["strategy 'ebano_uncertainty' cannot read explanations by 'shap_partition', which has no nPIR"],
        ),
        ({"arms": None, "strategy": "alex", "explainers": {"x": "lime"}}, ["'x' is not an arm; the recipe has"]),
    ],
)
def test_what_does_not_fit_together(tmp_path: Path, sections: dict[str, Any], problems: list[str]) -> None:
    pool = text_pool(tmp_path / "pool.parquet", 60, 0)
    with pytest.raises(ConfigError) as raised:
        text_recipe(pool, pool, **sections)
    assert all(problem in str(raised.value) for problem in problems)


def test_disagreement_cannot_read_ebano(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="cannot read explanations by 'ebano', which finds different features in each image"
    ):
        small(write_pool(tmp_path / "pool"), strategy="explanation_disagreement")


@pytest.mark.parametrize("explainer", ["lime", "shap_partition"])
def test_what_cannot_read_superpixels(tmp_path: Path, explainer: str) -> None:
    pool, own = write_pool(tmp_path / "pool"), {"name": explainer, "superpixels": 9}
    with pytest.raises(ConfigError, match=f"cannot read explanations by '{explainer}', which finds different features"):
        small(pool, strategy="explanation_disagreement", explainer=own)
    with pytest.raises(ConfigError, match=f"cannot read explanations by '{explainer}', which has no nPIR"):
        small(pool, explainer=own)
    small(pool, strategy="explanation_disagreement", explainer=explainer)
    small(pool, strategy="alex", explainer=own)
    with pytest.raises(ConfigError, match="patches: 4 and superpixels: 9 exclude each other"):
        small(pool, strategy="alex", explainer=own | {"patches": 4})
    words = text_pool(tmp_path / "words.parquet", 60, 0)
    with pytest.raises(ConfigError, match=f"'{explainer}' finds superpixels in images, the pool holds text; set"):
        run_experiment(text_recipe(words, words, explainer=own, arms={"alex": "alex"}), tmp_path / "runs", QUIET)


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        ({"model": "linear_svm", "feedback": "rrr"}, "'rrr' needs gradient_descent, which model 'linear_svm'"),
        ({"model": "perceptron", "feedback": "cali_ranking"}, "'cali_ranking' needs self_explaining"),
        ({"strategy": "margin", "explainer": None, "feedback": "counterexamples"}, "needs explanations; name"),
        ({"feedbacks": {"x": "rrr"}}, "feedbacks: 'x' is not an arm"),
        (
            {"model": {"name": "senn", "of": "image"}, "feedback": "cali_ranking"},
            "'cali_ranking' corrects the model's own explanations; use self_explaining",
        ),
        (
            {"model": "senn", "explainer": "self_explaining", "feedback": "cali_ranking", "train": {"flip": True}},
            "'cali_ranking' corrects pixels, which flips would move; set it to false",
        ),
        (
            {"model": {"name": "senn", "phi": "learned"}, "explainer": "self_explaining", "feedback": "rrr"},
            "'rrr' changes parts of items, but concepts are not parts",
        ),
        (
            {
                "model": {"name": "senn", "phi": "learned"},
                "explainer": "self_explaining",
                "strategy": "explanation_disagreement",
            },
            "compares items by their parts",
        ),
    ],
)
def test_feedback_that_does_not_fit(sections: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        parse(Recipe, {"strategy": "margin", "explainer": "lime"} | sections)


def test_a_recipe_with_feedback_is_caipis_loop(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("feedback: counterexamples\nmodel: perceptron\n")
    recipe = load(path)
    assert [each.name for each in recipe.strategies.values()] == ["margin"]
    assert recipe.explainer is not None and recipe.explainer.name == "lime" and recipe.explainer.repeats == 5  # type: ignore[attr-defined]
    path.write_text("feedback: counterexamples\nmodel: perceptron\nstrategy: entropy\nexplainer: gradient_shap\n")
    recipe = load(path)
    assert [each.name for each in recipe.strategies.values()] == ["entropy"] and recipe.explainer is not None
    assert recipe.explainer.name == "gradient_shap"


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(XalError, match="l_A = 9 is over limit, l_U = 3"):
        EbanoAugment(limit=3, augment_limit=9)
    pool = write_pool(tmp_path / "pool")
    with pytest.raises(ConfigError, match="'ebano_augment' needs explanations"):
        small(pool, strategy=AUGMENT, explainer=None)


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"model": {"name": "linear_svm", "encoder": "tfidf"}},
        {"model": {"name": "senn"}},
        {"model": {"name": "perceptron"}, "feedback": {"name": "counterexamples"}, "annotator": {"name": "file"}},
        {"arms": {"one": {"name": "entropy"}, "other": {"name": "random"}}},
    ],
    ids=["nothing", "model", "senn", "feedback", "arms"],
)
def test_a_recipe_built_in_python_has_the_defaults_of_one_from_yaml(tmp_path: Path, parts: dict[str, Any]) -> None:
    families = {"model": Model, "feedback": Feedback, "annotator": Annotator, "arms": Strategy}

    def built(name: str, value: Any) -> Any:
        if name == "arms":
            return {arm: parse(Strategy, each) for arm, each in value.items()}
        return parse(families[name], value)

    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(parts))
    in_python = Recipe(**{name: built(name, value) for name, value in parts.items()})
    assert in_python == load(path) == parse(Recipe, parts)
    assert in_python.explainer is not None and in_python.explainer.name
    assert parse(Recipe, unparse(in_python)) == in_python
