"""`xal.Learner`: ask and tell, on the same campaign as recipes."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import xal
from xal.api.inputs import items_of
from xal.campaign.recipe import load
from xal.cli.app import main

X = np.random.default_rng(0).normal(size=(120, 4)).astype(np.float32)
Y = np.where(X[:, 0] + X[:, 1] > 0, "positive", "negative")


def texts(n=80, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.choice(["bad", "good"], n)
    words = {"good": ["good", "fine", "lovely"], "bad": ["bad", "poor", "dull"]}
    found = [" ".join([*generator.choice(words[label], 2), f"word{number}"]) for number, label in enumerate(labels)]
    return found, labels


def taught(learner, answers, rounds=2, n=15):
    for _ in range(rounds):
        batch = learner.ask(n)
        learner.tell(batch, [answers[position] for position in batch.positions])
    return learner


@pytest.mark.parametrize(
    "model",
    [
        None,
        LogisticRegression(C=10.0),
        RandomForestClassifier(n_estimators=15),
        make_pipeline(StandardScaler(), LogisticRegression()),
        "logistic_regression",
        {"name": "perceptron", "of": "features", "scale": 1, "hidden": [8]},
    ],
    ids=["default", "logistic", "forest", "pipeline", "name", "mapping"],
)
def test_models_learn_and_explain(model):
    with xal.Learner(X, model=model, strategy="margin", explainer="shap_partition") as learner:
        taught(learner, Y)
        proba = learner.predict_proba()
        assert proba.shape == (120, 2) and learner.classes == ("negative", "positive")
        np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-6)
        assert (learner.predict(X) == np.array(learner.classes)[proba.argmax(axis=1)]).all()
        explained = learner.explain(X[:3], target="positive")
        assert explained.feature_kind == "columns" and (explained.explained_class == 1).all()
        np.testing.assert_allclose(explained.base + explained.attributions.sum(axis=1), explained.output, atol=1e-4)


def test_a_model_that_learns_the_task_is_right():
    learner = taught(xal.Learner(X, strategy="margin"), Y, rounds=4)
    assert (learner.predict() == Y).mean() > 0.9


def test_the_queries_are_those_of_the_same_recipe(tmp_path):
    learner = xal.Learner(X, strategy="margin", directory=tmp_path / "learner", batch_size=15)
    taught(learner, Y, rounds=3)
    items_of(X).write(tmp_path / "pool", Y.tolist(), ("negative", "positive"))
    recipe = {
        "pool": {"source": str(tmp_path / "pool")},
        "model": "logistic_regression",
        "strategy": "margin",
        "engine": "serial",
        "budget": {"initial": 15, "per_round": 15, "rounds": 2},
    }
    (run,) = xal.run(recipe, tmp_path / "runs", quiet=True)
    told = {item.id: item.label for item in learner.run.queried}
    assert {item.id: item.label for item in run.queried} == told
    assert [item.id for item in run.queried] == [item.id for item in learner.run.queried]


def test_texts_with_a_pipeline_of_ones_own():
    documents, labels = texts()
    learner = xal.Learner(documents, model=make_pipeline(TfidfVectorizer(), LogisticRegression()))
    taught(learner, labels, n=10)
    assert learner.explain(documents[:2]).feature_kind == "words"
    assert set(learner.predict(["a good lovely film", "a poor dull film"])) <= {"bad", "good"}


def test_images_of_every_form_are_the_same(tmp_path):
    generator = np.random.default_rng(0)
    arrays = [generator.integers(0, 60, (12, 12, 3)).astype(np.uint8) + 150 * (i % 2) for i in range(24)]
    arrays = [array.astype(np.uint8) for array in arrays]
    for number, array in enumerate(arrays):
        Image.fromarray(array).save(tmp_path / f"{number:02d}.png")
    forms = [
        [Image.fromarray(array) for array in arrays],
        [tmp_path / f"{number:02d}.png" for number in range(24)],
        np.stack(arrays),
    ]
    found = []
    for data in forms:
        learner = xal.Learner(
            data, classes=["dark", "light"], model={"name": "convnet", "filters": 2, "hidden": 4}, train={"epochs": 1}
        )
        batch = learner.ask(8)
        learner.tell(batch, [("dark", "light")[position % 2] for position in batch.positions])
        found.append(learner.predict_proba(data))
        assert "data:image/png" in learner.ask(4)._repr_html_()
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_a_dataset_of_hugging_face():
    datasets = pytest.importorskip("datasets")
    documents, labels = texts()
    learner = taught(xal.Learner(datasets.Dataset.from_dict({"text": documents})), labels, rounds=1)
    assert len(learner.predict()) == 80


def test_a_data_frame_keeps_names_and_ids():
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"]).assign(id=[f"row-{n}" for n in range(120)])
    learner = taught(xal.Learner(frame, explainer="shap_partition"), Y, rounds=1, n=30)
    batch = learner.ask(3)
    assert all(name.startswith("row-") for name in batch.ids) and "a = " in str(batch)


class Net(torch.nn.Module):
    def __init__(self, shape, n_classes):
        super().__init__()
        self.layer = torch.nn.Linear(shape[0], n_classes)

    def forward(self, inputs):
        return self.layer(inputs)


def test_a_torch_module_of_ones_own(tmp_path):
    classes = ["negative", "positive"]
    learner = xal.Learner(X, model=Net, explainer="integrated_gradients", directory=tmp_path, classes=classes)
    taught(learner, Y)
    given = torch.nn.Linear(4, 2)
    other = taught(xal.Learner(X, model=given, explainer="integrated_gradients", classes=learner.classes), Y)
    assert learner.predict_proba().shape == other.predict_proba().shape == (120, 2)
    with pytest.raises(xal.XalError, match="give classes="):
        xal.Learner(X, model=given)


class TestAFileThatIsContinued:
    def test_saved_and_opened_again(self, tmp_path):
        learner = taught(xal.Learner(X, model=RandomForestClassifier(n_estimators=5)), Y)
        before = learner.predict_proba()
        learner.save(tmp_path / "kept")
        with pytest.raises(xal.XalError, match="is not empty"):
            learner.save(tmp_path / "kept")
        opened = xal.Learner.open(tmp_path / "kept")
        np.testing.assert_array_equal(opened.predict_proba(), before)
        taught(opened, Y, rounds=1)
        assert len(opened.run.queried) == 45

    def test_by_the_command_line(self, tmp_path, monkeypatch, capsys):
        taught(xal.Learner(X, strategy="margin", directory=tmp_path, batch_size=10), Y, n=10)
        recipe = tmp_path / "recipe.yaml"
        assert load(recipe).strategy.name == "margin"

        def call(*arguments):
            monkeypatch.setattr(sys, "argv", ["xal", *map(str, arguments)])
            with pytest.raises(SystemExit) as stop:
                main()
            assert not stop.value.code, capsys.readouterr().err
            return capsys.readouterr().out

        assert "20" in call("status", tmp_path)
        assert "waiting for 10 labels" in call("run", recipe, "--out", tmp_path)
        opened = xal.Learner.open(tmp_path)
        assert opened.run.state == "waiting for 10 labels"
        with pytest.raises(xal.XalError, match="10 items of the last batch are not labelled yet"):
            opened.ask(5)

    def test_a_directory_with_a_run_is_not_begun_anew(self, tmp_path):
        taught(xal.Learner(X, directory=tmp_path), Y, rounds=1)
        with pytest.raises(xal.XalError, match=r"Learner\.open"):
            xal.Learner(X, directory=tmp_path)
        with pytest.raises(xal.XalError, match="holds no Learner's run"):
            xal.Learner.open(tmp_path / "nothing")


class TestLabels:
    def test_in_parts_and_by_id(self):
        learner = xal.Learner(X)
        batch = learner.ask(6)
        assert learner.tell(batch, ["a", "b", None, None, None, None]) == 4
        assert learner.tell(batch, dict.fromkeys(batch.ids[2:], "a")) == 0

    def test_of_one_class_only_the_next_batch_is_random(self):
        learner = xal.Learner(X, strategy="margin")
        batch = learner.ask(5)
        learner.tell(batch, ["a"] * 5)
        assert {item.reason for item in learner.ask(5)} == {"random"}
        with pytest.raises(xal.XalError, match="no trained model yet"):
            learner.predict()

    def test_a_class_that_comes_later_joins_the_others(self):
        learner = xal.Learner(X, strategy="margin", explainer=False)
        for labels in (["a", "b"] * 5, ["c", "a"] * 5, ["b", "c"] * 5):
            learner.tell(learner.ask(10), labels)
        assert learner.classes == ("a", "b", "c") and learner.predict_proba().shape == (120, 3)

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (["negative"], "expected 6 labels"),
            (["negative"] * 5 + ["nope"], "'nope' is not a class"),
            ({"not-there": "negative"}, "not in the batch"),
            ("negative", "expected 6 labels"),
        ],
    )
    def test_what_cannot_be_taken_changes_nothing(self, labels, message):
        learner = xal.Learner(X, classes=["negative", "positive"])
        batch = learner.ask(6)
        with pytest.raises(xal.XalError, match=message):
            learner.tell(batch, labels)
        assert all(item.label is None for item in learner.run.queried)

    def test_a_batch_told_twice_is_refused(self):
        learner = xal.Learner(X)
        batch = learner.ask(4)
        learner.tell(batch, ["a", "b", "a", "b"])
        with pytest.raises(xal.XalError, match="was labelled 'a' before"):
            learner.tell(batch, ["a", "b", "a", "b"])

    def test_more_than_there_is(self):
        learner = xal.Learner(X)
        with pytest.raises(xal.XalError, match="requested 121 items, but 120 of 120 are left"):
            learner.ask(121)


def test_corrections_by_name_are_learned_from():
    documents, labels = texts()
    learner = xal.Learner(
        documents, feedback={"name": "counterexamples", "replacement": "alternative"}, classes=["bad", "good"]
    )
    taught(learner, labels, rounds=1, n=20)
    batch = learner.ask(10)
    first = batch.explanations[batch.ids[0]]
    said = {item.id: {"wrong": [documents[item.row].split()[-1]]} for item in batch}
    assert first.feature_kind == "words"
    with pytest.raises(xal.XalError, match="no component 'nonsense'"):
        learner.tell(batch, [labels[p] for p in batch.positions], {0: {"wrong": ["nonsense"]}})
    learner.tell(batch, [labels[p] for p in batch.positions], said)
    learner.predict()
    assert 0 < learner.run.of("train")[1].metrics["synthetic_items"] <= 10  # of those that are not held out


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X[:1], "the data holds 1 item"),
        (np.where(X > 1, np.nan, X), "missing, NaN or infinite, first in row"),
        ([], "there are no items"),
        (["a", " "], "1 of 2 texts are blank, first number 1"),
        (["a", 1], "must be of one kind"),
        (pd.DataFrame({"city": ["x", "y"], "n": [1, 2]}), "columns 'city' are no numbers"),
        (pd.DataFrame({"id": ["x", "x"], "n": [1, 2]}), "names a row twice"),
        (np.zeros((3, 4, 4)), "must be uint8"),
        (np.zeros((3, 4, 4, 2), np.uint8), "1 or 3 channels"),
        ([Path("nowhere.png"), Path("else.png")], "cannot be read as an image"),
        (7, "expected an array"),
    ],
)
def test_data_that_cannot_be_used(data, message):
    with pytest.raises(xal.XalError, match=message):
        xal.Learner(data)


def test_models_that_cannot_be_used():
    with pytest.raises(xal.XalError, match=r"LinearSVC has no predict_proba.*CalibratedClassifierCV"):
        xal.Learner(X, model=LinearSVC())
    with pytest.raises(xal.XalError, match="did you mean 'logistic_regression'"):
        xal.Learner(X, model="logistic_regresion")
    with pytest.raises(xal.XalError, match="takes features, the pool holds text"):
        xal.Learner(["one", "two"], model={"name": "sklearn", "estimator": "sklearn.naive_bayes:GaussianNB"})
    with pytest.raises(xal.XalError, match="cannot be made"):
        xal.Learner(X, model={"name": "sklearn", "estimator": "sklearn.nowhere:Class"})
