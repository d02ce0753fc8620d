"""The notebooks of examples/ run from any directory, and so does each extension, in a small campaign."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import xal

EXAMPLES = Path(__file__).parents[1] / "examples"
WORDS = {"good": ["great", "funny"], "bad": ["dull", "weak"]}
THINGS = ("plot", "cast", "music", "script", "humour", "ending", "start", "story", "film", "play")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("arrays", "accuracy of the learner after 60 labels: 0."),
        ("photos", "accuracy on all 150 images after 60 labels: 0."),
        ("text_corrections", "corrections in the ledger: 30"),
    ],
)
def test_notebook(name: str, line: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")], cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert ran.returncode == 0, ran.stderr
    assert line in ran.stdout
    assert list(tmp_path.iterdir()) == []
    if name == "text_corrections":
        found = re.findall(r"swapped, (?:un)?corrected: ([\d.]+)", ran.stdout)
        uncorrected, corrected = map(float, found)
        assert corrected > uncorrected + 0.3


@pytest.fixture
def extensions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES / "extensions"))


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A pool of 40 texts without labels."""
    rows = [f"the {thing} is {word}" for words in WORDS.values() for word in words for thing in THINGS]
    learner = xal.Learner(
        pd.DataFrame({"id": [f"t{n:02d}" for n in range(len(rows))], "text": rows}), directory=tmp_path
    )
    return learner.directory / "pool"


@pytest.mark.usefixtures("extensions")
def test_strategy_encoder_and_annotator(texts: Path, tmp_path: Path) -> None:
    """By name in a recipe: a campaign of two rounds."""
    recipe: dict[str, Any] = {
        "pool": {"source": str(texts), "classes": ["good", "bad"]},
        "model": {"name": "logistic_regression", "encoder": {"name": "char_ngrams:CharNgrams", "longest": 4}},
        "strategy": {"name": "candidates", "n": 12, "strategy": {"name": "weak_reasons:WeakReasons"}},
        "explainer": {"name": "shap_partition", "max_evals": 16},
        "annotator": {"name": "keywords:Keywords", "words": WORDS},
        "budget": {"initial": 12, "per_round": 6, "rounds": 1},
        "engine": "serial",
    }
    (run,) = xal.run(recipe, tmp_path / "runs", quiet=True)
    assert run.state == "finished"
    second = [item for item in run.queried if item.round == 1]
    assert {item.reason for item in second} == {"weak_reasons:WeakReasons"}
    assert all(-1 <= item.score <= 0 for item in second)
    assert {item.label for item in run.queried} == {"good", "bad"}


@pytest.mark.usefixtures("extensions")
def test_keywords_leave_other_texts_to_a_person(texts: Path, tmp_path: Path) -> None:
    recipe = {
        "pool": {"source": str(texts), "classes": ["good", "bad"]},
        "model": {"name": "logistic_regression", "encoder": "tfidf"},
        "annotator": {"name": "keywords:Keywords", "words": {"good": ["great"], "bad": ["dull"]}},
        "budget": {"initial": 40, "per_round": 1, "rounds": 0},
        "engine": "serial",
    }
    (run,) = xal.run(recipe, tmp_path / "runs", quiet=True)
    assert run.state == "waiting for 20 labels"


@pytest.mark.usefixtures("extensions")
def test_model_explainer_and_feedback() -> None:
    """As instances in a learner: column 0 tells the class, column 1 does not."""
    from mean_values import MeanValues
    from nearest_centroid import NearestCentroid
    from occlusion import Occlusion

    labels = np.arange(80) % 2
    rows = np.random.default_rng(0).normal(size=(80, 2)).astype(np.float32)
    rows[:, 0] += 4 * labels
    names = np.array(["no", "yes"])
    learner = xal.Learner(
        rows, model=NearestCentroid(), explainer=Occlusion(), feedback=MeanValues(weight=0.5), classes=["no", "yes"]
    )
    batch = learner.ask(20)
    learner.tell(batch, names[labels[batch.positions]].tolist())
    batch = learner.ask(8)
    corrections = {item: {"wrong": ["column 1"]} for item in batch.ids}
    learner.tell(batch, names[labels[batch.positions]].tolist(), corrections)
    assert (learner.predict() == names[labels]).mean() > 0.9
    explained = learner.explain(batch)
    assert np.abs(explained.attributions).max() <= 1
    assert set(explained.top_feature) == {0}
    trained = learner.run.of("train")
    assert trained[0].metrics["synthetic_items"] == 0
    assert 0 < trained[1].metrics["synthetic_items"] <= 8  # none of the corrected items that are held out


@pytest.mark.usefixtures("extensions")
def test_occlusion_is_the_drop_of_one_column_at_a_time() -> None:
    """Against a double loop."""
    import torch
    from nearest_centroid import CentroidClassifier
    from occlusion import Occlusion

    classifier = CentroidClassifier(torch.tensor([[0.0, 0.0, 1.0], [2.0, 1.0, 0.0]]), torch.ones(3), 1.0)
    inputs = torch.tensor([[0.1, 0.9, 0.4], [1.5, 0.2, 0.3]])
    baselines = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 1.5]])
    found = Occlusion().explain(classifier, inputs, torch.tensor([1, 0]), baselines).attributions
    for item, target in ((0, 1), (1, 0)):
        for column in range(3):
            masked = inputs[item : item + 1].clone()
            masked[0, column] = baselines[:, column].mean()
            before = classifier.probabilities(inputs[item : item + 1])[0, target]
            assert found[item, column] == pytest.approx(
                float(before - classifier.probabilities(masked)[0, target]), abs=1e-6
            )
