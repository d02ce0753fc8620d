"""Vectors that come with the pool: a campaign on them, their explanations, and columns that cannot be used."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.recipes import QUIET, only_run, small, write_pool
from xal.campaign.experiment import run_experiment
from xal.campaign.trial import try_recipe
from xal.campaign.validation import checked_pools
from xal.core.config import parse
from xal.data.pool import Pool
from xal.encoders import Encoder
from xal.engine.embedding import vectors_in
from xal.errors import ConfigError, DataError, XalError
from xal.explainers.shap_embedding import ShapEmbedding
from xal.models import Model
from xal.models.model import Weights
from xal.models.training_data import TrainContext, TrainingData, TrainSettings
from xal.report.html import write_report
from xal.store.artefacts import EXPLANATIONS, read_explanations

MODEL = {"name": "logistic_regression", "encoder": {"name": "column", "column": "mine"}}


def with_vectors(path: Path, n: int = 120, seed: int = 0, **changed: Any) -> Path:
    """A pool whose column `mine` reveals the class."""
    pool = write_pool(path, n, seed=seed)
    table = pq.read_table(pool / "part-000.parquet")
    labels = np.unique(table["label"].to_pylist(), return_inverse=True)[1]
    vectors = np.random.default_rng(seed).normal(0, 0.3, (n, 5)) + 2 * np.eye(5)[labels]
    column = changed.get("column", vectors.tolist())
    pq.write_table(table.append_column("mine", pa.array(column)), pool / "part-000.parquet")
    return pool


def test_a_campaign_on_given_vectors(tmp_path: Path) -> None:
    pool, test = with_vectors(tmp_path / "pool"), with_vectors(tmp_path / "test", 40, 3)
    recipe = small(pool, pool={"test": str(test)}, model=MODEL, strategy="margin", explainer="shap_embedding")
    run_experiment(recipe, tmp_path / "runs", QUIET)
    run = only_run(tmp_path / "runs")
    assert run.curve()[1][-1] > 0.95  # the vectors reveal the class, which 12 x 12 pixels were not asked for
    _, explained = read_explanations(run.directory / run.of("query")[2].artefact / EXPLANATIONS)
    assert explained.feature_kind == "concepts" and explained.attributions.shape == (8, 5)
    page = write_report([run.directory], tmp_path / "report.html")
    assert "concept 0" in page.read_text()


def test_an_explanation_is_the_weight_times_the_distance_from_the_mean() -> None:
    generator = np.random.default_rng(1)
    vectors, labels = generator.normal(size=(60, 4)), np.arange(60) % 3
    vectors[:, 0] += labels
    model = parse(Model, MODEL)
    data = TrainingData(inputs=vectors, labels=labels, n_classes=3, shape=(), n_labelled=60, on_vectors=True)
    fitted = model.fit(data, TrainContext(settings=TrainSettings(), seed=0))
    classifier = model.classifier(Weights(arrays=fitted.arrays, shape=(), n_classes=3))
    found = ShapEmbedding().explain(classifier.head, vectors[:7])
    w = fitted.arrays["head.w"][found.explained_class]
    np.testing.assert_allclose(found.attributions, w * (vectors[:7] - vectors.mean(axis=0)))
    margins = vectors[:7] @ fitted.arrays["head.w"].T + fitted.arrays["head.b"]
    np.testing.assert_allclose(
        found.base + found.attributions.sum(axis=1), margins[np.arange(7), found.explained_class]
    )
    ShapEmbedding().check(found)


def test_items_without_a_vector_are_told_and_never_queried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = with_vectors(tmp_path / "pool")
    table = pq.read_table(pool / "part-000.parquet")
    column = table["mine"].to_pylist()
    column[3], column[8] = None, [float("nan")] * 5
    at = table.column_names.index("mine")
    pq.write_table(table.set_column(at, "mine", pa.array(column)), pool / "part-000.parquet")
    said: list[str] = []
    monkeypatch.setattr(QUIET, "say", said.append)
    recipe = small(pool, model=MODEL, strategy="margin", explainer=None, budget={"initial": 40, "per_round": 40})
    run_experiment(recipe, tmp_path / "runs", QUIET)
    assert any("2 items have no finite vector in column 'mine' and will not be queried" in line for line in said)
    queried = {item.id for item in only_run(tmp_path / "runs").queried}
    assert len(queried) == 118 and not queried & {"item-0003", "item-0008"}


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (["a"] * 120, "holds string, expected a list of numbers"),
        ([[1.0, 2.0]] * 119 + [[1.0]], "vectors of different lengths: 1, 2"),
        ([None] * 120, "holds .* expected a list|no vector in its first rows"),
    ],
)
def test_columns_that_hold_no_vectors(tmp_path: Path, column: list[Any], told: str) -> None:
    pool = Pool.open(with_vectors(tmp_path / "pool", column=column))
    with pytest.raises(DataError, match=told):
        vectors_in(pool, "mine", np.arange(120))


def test_mistakes_are_found_before_the_first_round(tmp_path: Path) -> None:
    pool = with_vectors(tmp_path / "pool")
    with pytest.raises(ConfigError, match="'shap_partition' changes items, .* use shap_embedding"):
        small(pool, model=MODEL, strategy="margin", explainer="shap_partition")
    with pytest.raises(ConfigError, match="'counterexamples' is about parts of items"):
        small(pool, model=MODEL, strategy="margin", explainer="shap_embedding", feedback="counterexamples")
    other = {"name": "logistic_regression", "encoder": {"name": "column", "column": "absent"}}
    recipe = small(pool, model=other, strategy="margin", explainer=None)
    with pytest.raises(DataError, match="has no column 'absent'; it has id, image, label, mine"):
        try_recipe(recipe, checked_pools(recipe))
    with pytest.raises(XalError, match="items outside the pool, or changed ones, have none"):
        parse(Encoder, MODEL["encoder"]).load({}).vectors(np.zeros((1, 1, 12, 12), np.uint8))
