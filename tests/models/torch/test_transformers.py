"""Transformers of texts: fine-tuning learns, predictions are the package's own, words explain, weights come back."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.encoders import tiny
from tests.recipes import QUIET, only_run, small
from xal.campaign.experiment import run_experiment
from xal.data.build.writer import PoolWriter
from xal.encoders import Texts
from xal.errors import DataError
from xal.explainers import Explainer
from xal.models.model import Weights
from xal.models.torch.transformers import Transformers
from xal.models.train_settings import TrainSettings
from xal.models.training_data import TrainContext, TrainingData

pytest.importorskip("transformers")
SETTINGS = TrainSettings(epochs=15, lr=5e-3, batch_size=16, threads=1)


def texts(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Films that are good or bad, in some words."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n)
    made = [
        " ".join(generator.permutation([*generator.choice(["the", "a", "film", "plot"], 3), ["bad", "good"][label]]))
        for label in labels
    ]
    return np.array(made, object), labels


def trained(folder: Path):
    given, labels = texts(60)
    model = Transformers(checkpoint=tiny.bert(folder))
    data = TrainingData(inputs=given, labels=labels, n_classes=2, shape=(), n_labelled=60)
    fitted = model.fit(data, TrainContext(settings=SETTINGS, seed=0))
    return model, model.classifier(Weights(arrays=fitted.arrays, shape=(), n_classes=2)), fitted


def test_it_learns_and_predicts_as_the_package_does(tmp_path: Path) -> None:
    model, classifier, fitted = trained(tmp_path)
    given, labels = texts(30, seed=1)
    found = classifier.probabilities(given).detach()
    assert (found.argmax(1).numpy() == labels).mean() > 0.9
    with torch.no_grad():
        network = classifier.module.network
        import transformers

        tokenizer = transformers.AutoTokenizer.from_pretrained(model.checkpoint)
        alone = torch.stack([network(**tokenizer(text, return_tensors="pt")).logits[0] for text in given])
    np.testing.assert_allclose(found, torch.softmax(alone, dim=1), atol=1e-5)  # whatever the padding
    probabilities, embeddings = classifier.embed(given)
    np.testing.assert_allclose(probabilities.detach(), found, atol=1e-6)
    assert embeddings.shape == (30, 16) and fitted.metrics["train_accuracy"] > 0.9


def test_words_explain_it(tmp_path: Path) -> None:
    _, classifier, _ = trained(tmp_path)
    text = np.array(["the bad film"], object)
    outputs = classifier.masked_outputs(Texts(list(text)), "probability")
    kept = outputs(np.zeros(2, int), np.array([[True, True, True], [True, False, True]]))
    expected = classifier.probabilities(np.array(["the bad film", "the film"], object)).detach()
    np.testing.assert_allclose(kept, expected, atol=1e-6)
    explainer = Explainer.named("shap_partition")()
    found = explainer.explain(classifier, text)
    explainer.check(found)
    row = found.attributions[[0]]
    from xal.core.hashed_words import column

    assert found.explained_class[0] == 0 and row.indices[np.argmax(row.data)] == column("bad")


def test_the_seed_decides(tmp_path: Path) -> None:
    one, other = (trained(tmp_path)[2].arrays for _ in range(2))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_checkpoints_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"model.checkpoint: no folder '\./absent'"):
        Transformers(checkpoint="./absent").create((), 2, seed=0)
    folder = Path(tiny.bert(tmp_path, labels=5))  # a head for other classes is replaced
    assert Transformers(checkpoint=str(folder)).create((), 3, seed=0)(torch.tensor([[2, 4, 3]])).shape == (1, 3)
    settings = (folder / "config.json").read_text()
    (folder / "config.json").write_text(settings.replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    with pytest.raises(DataError, match=r"model.checkpoint: .* lacks 16 weights of a BertForSequenceClassification"):
        Transformers(checkpoint=str(folder)).create((), 2, seed=0)


def pool(path: Path, n: int, seed: int) -> Path:
    writer = PoolWriter(path, "text", labelled=True)
    for number, (text, label) in enumerate(zip(*texts(n, seed), strict=True)):
        writer.add(f"text-{number}", text, ["bad", "good"][label])
    writer.close(["bad", "good"])
    return path


@pytest.mark.long
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=[pytest.mark.ray, pytest.mark.slow])])
def test_a_campaign(tmp_path: Path, workers: int) -> None:
    """The second round starts from the first one's weights; on Ray, two workers train."""
    engine = (
        {"name": "ray", "cpus": 3, "train_workers": workers, "object_store_mb": 100} if workers else {"name": "serial"}
    )
    recipe = small(
        pool(tmp_path / "pool.parquet", 80, 0),
        pool={"test": str(pool(tmp_path / "test.parquet", 40, 1))},
        model={"name": "transformers", "checkpoint": tiny.bert(tmp_path / "bert")},
        train={"lr": 5e-3, "epochs": 15, "batch_size": 16, "start": "finetune", "finetune_epochs": 3},
        strategy="margin",
        explainer="shap_partition",
        budget={"initial": 30, "per_round": 10, "rounds": 1},
        engine=engine,
    )
    run_experiment(recipe, tmp_path / "runs", QUIET)
    assert only_run(tmp_path / "runs").curve()[1][-1] > 0.9
