"""What ends a campaign late is refused before it begins, all of it at once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.explained.test_texts import recipe
from tests.recipes import features_pool, small, text_pool, write_pool
from xal.campaign.experiment import run_experiment
from xal.campaign.import_labels import import_labels
from xal.campaign.recipe import Recipe
from xal.campaign.validation import checked
from xal.core.progress import Reporter
from xal.data.pool import Pool
from xal.errors import ConfigError
from xal.store.run import read_run


def alone(pool: Path, **sections: Any) -> Recipe:
    """Without a test pool."""
    given = recipe(pool, pool, **{"arms": None, "strategy": "margin"} | sections)
    return replace(given, pool=replace(given.pool, test=None))


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
        ({"arms": None, "strategy": "alex", "explainers": {"x": "lime"}}, ["'x' is no arm; there are none"]),
    ],
)
def test_what_does_not_fit_together(tmp_path: Path, sections: dict[str, Any], problems: list[str]) -> None:
    pool = text_pool(tmp_path / "pool.parquet", 60, 0)
    with pytest.raises(ConfigError) as raised:
        recipe(pool, pool, **sections)
    assert all(problem in str(raised.value) for problem in problems)


def test_disagreement_cannot_read_ebano(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="cannot read explanations by 'ebano', which finds features of its own in every image"
    ):
        small(write_pool(tmp_path / "pool"), strategy="explanation_disagreement")


@pytest.mark.parametrize("explainer", ["lime", "shap_partition"])
def test_what_cannot_read_superpixels(tmp_path: Path, explainer: str) -> None:
    pool, own = write_pool(tmp_path / "pool"), {"name": explainer, "superpixels": 9}
    with pytest.raises(
        ConfigError, match=f"cannot read explanations by '{explainer}', which finds features of its own"
    ):
        small(pool, strategy="explanation_disagreement", explainer=own)
    with pytest.raises(ConfigError, match=f"cannot read explanations by '{explainer}', which has no nPIR"):
        small(pool, explainer=own)
    small(pool, strategy="explanation_disagreement", explainer=explainer)
    small(pool, strategy="alex", explainer=own)
    with pytest.raises(ConfigError, match="patches: 4 and superpixels: 9 exclude each other"):
        small(pool, strategy="alex", explainer=own | {"patches": 4})
    words = text_pool(tmp_path / "words.parquet", 60, 0)
    with pytest.raises(ConfigError, match=f"'{explainer}' finds superpixels in images, the pool holds text; set"):
        run_experiment(
            recipe(words, words, explainer=own, arms={"alex": "alex"}), tmp_path / "runs", Reporter(quiet=True)
        )


def test_pools_that_do_not_fit_together_are_all_named(tmp_path: Path) -> None:
    blind = write_pool(tmp_path / "pool", label=None)
    strange = write_pool(tmp_path / "test", n=20, label=["odd"] * 20)
    words = text_pool(tmp_path / "words.parquet", 20, 0)
    given = small(
        blind,
        pool={"classes": ["dark", "light", "striped"], "test": str(strange), "validation": str(words)},
    )
    with pytest.raises(ConfigError) as raised:
        checked(given)
    assert [problem.split(":")[0] for problem in raised.value.problems] == [
        "annotator",
        "pool.test",
        "pool.validation",
    ]
    assert "labels outside the classes: odd" in str(raised.value) and "holds text, the pool image" in str(raised.value)
    table = features_pool(tmp_path / "table.parquet", 40)
    with pytest.raises(ConfigError, match=r"nothing to evaluate on(?s:.*)only images can be flipped"):
        checked(
            alone(
                table,
                model="logistic_regression",
                train={"validation": 0, "flip": True},
            )
        )


def test_a_text_campaign_without_a_test_pool_holds_out_some_of_its_labels(tmp_path: Path) -> None:
    source = text_pool(tmp_path / "pool.parquet", 120, 0)
    given = alone(
        source,
        annotator="file",
        budget={"initial": 30, "per_round": 10, "rounds": 1},
    )
    pool = Pool.open(source)
    table = pool.read_span(0, len(pool), ["id", "label"]).to_pydict()
    relevance = dict(zip(table["id"], table["label"], strict=True))
    for _ in range(2):
        run_experiment(given, tmp_path / "runs", Reporter(quiet=True))
        directory = tmp_path / "runs" / "margin-seed0"
        waiting = [item.id for item in read_run(directory).queried if item.label is None]
        answers = tmp_path / "answers.csv"
        answers.write_text("id,label\n" + "".join(f"{item},{relevance[item]}\n" for item in waiting))
        import_labels(directory, answers, "me")
    run_experiment(given, tmp_path / "runs", Reporter(quiet=True))
    run = read_run(directory)
    trained, measured = run.of("train")[1].metrics, run.of("evaluate")[1].metrics
    assert run.state == "finished" and measured["on"] == "validation"
    assert (
        0 < trained["validation_items"] == measured["test_items"]
        and trained["train_items"] + measured["test_items"] == 40
    )
