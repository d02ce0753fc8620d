"""EBAnO-Augment in a campaign: synthetic items join one round's training, and are no labels."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

from tests.recipes import CLASSES, QUIET, run_specs, small, write_pool
from xal.campaign.loop import run_campaign
from xal.campaign.recipe import Recipe
from xal.campaign.run_spec import RunSpec
from xal.engine.tasks import ModelRef
from xal.engine.worker import Worker
from xal.explainers import Ebano
from xal.store.artefacts import EXPLANATIONS, SYNTHETIC, WEIGHTS, read_explanations
from xal.store.directory import open_ledger
from xal.store.ledger import Queried, Step

AUGMENT = {"name": "ebano_augment", "candidates": 40, "threshold": -2, "limit": 6, "augment_limit": 4}


def run(recipe: Recipe, directory: Path) -> tuple[RunSpec, list[Step], list[Queried]]:
    spec = run_specs(recipe, directory)[0]
    with recipe.engine.open() as session:
        assert run_campaign(spec, session, QUIET).finished
    ledger = open_ledger(spec.directory)
    steps, queried = ledger.steps(), ledger.queried()
    ledger.close()
    return spec, steps, queried


def copies(spec: RunSpec, round: int):
    return pq.read_table(spec.directory / f"round-{round:03d}" / "train" / SYNTHETIC).to_pylist()


def pixels(payload: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(payload)))


def test_copies_of_what_it_queried_with_true_labels_and_no_more(tmp_path: Path) -> None:
    recipe = small(write_pool(tmp_path / "pool"), strategy=AUGMENT, train={"validation": 0.3})
    spec, steps, queried = run(recipe, tmp_path / "runs")
    train = {step.round: step.metrics for step in steps if step.step == "train"}
    assert train[0]["synthetic_items"] == 0
    by_id = {item.id: item for item in queried}
    for round in (1, 2):
        rows = copies(spec, round)
        assert train[round]["synthetic_items"] == len(rows) > 0 and len(rows) <= 4
        assert {row["id"] for row in rows}.isdisjoint(by_id) and all("#" in row["id"] for row in rows)
        sources = [by_id[row["source"]] for row in rows]
        assert all(item.round == round and item.reason == "ebano_augment" for item in sources)  # rebuilt, not gathered
        assert [row["label"] for row in rows] == [item.label for item in sources]
        assert [CLASSES[row["class_index"]] for row in rows] == [item.label for item in sources]
        assert [item.rank for item in sources] == sorted(item.rank for item in sources)
    held = sum(step.metrics["validation_items"] for step in steps if step.step == "train" and step.round == 2)
    assert train[2]["train_items"] + held == len(queried) == 12 + 2 * 8  # synthetic items are counted apart
    assert held > 0


def test_held_out_items_have_no_copy(tmp_path: Path) -> None:
    """Else their pixels would leak into training: half of the items are held out, and no copy is of one of them."""
    strategy = AUGMENT | {"limit": 8, "augment_limit": None}
    recipe = small(write_pool(tmp_path / "pool"), strategy=strategy, train={"validation": 0.5})
    spec, _, queried = run(recipe, tmp_path / "runs")
    first = [item.id for item in queried if item.round == 1]
    sources = {row["source"] for row in copies(spec, 1)}
    assert sources < set(first) and len(sources) > 0
    plain = dataclasses.replace(recipe, strategy=dataclasses.replace(recipe.strategy, augment_limit=None))
    assert plain.strategies["ebano_augment"].augmentation.limit is None


def test_the_copy_keeps_fmax_of_the_prediction_or_of_the_label(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    recipe = small(pool, strategy=AUGMENT | {"explained": "label"}, train={"epochs": 1})
    spec, _, queried = run(recipe, tmp_path / "label")
    explainer = recipe.explainer
    assert isinstance(explainer, Ebano)
    ref = ModelRef(
        model=recipe.model,
        weights=spec.directory / "round-000" / "train" / WEIGHTS,
        version="0",
        shape=(1, 12, 12),
        n_classes=3,
    )
    classifier = Worker("cpu").classifier(ref)
    by_id = {item.id: item for item in queried}
    images = {row["id"]: pixels(row["image"]) for row in pq.read_table(pool).to_pylist()}
    unlike = 0
    for row in copies(spec, 1):
        original = torch.from_numpy(images[row["source"]].copy())[None, None]
        anew = explainer.explain(classifier, original, torch.tensor([CLASSES.index(row["label"])]))
        fmax = anew.segments[0] == anew.top_feature[0]
        copy = pixels(row["image"])
        assert np.array_equal(copy[fmax], images[row["source"]][fmax])
        assert (copy[~fmax] != images[row["source"]][~fmax]).any()
        unlike += by_id[row["source"]].prediction != row["label"]
    assert unlike  # else this shows nothing
    spec, _, _ = run(small(pool, strategy=AUGMENT, train={"epochs": 1}), tmp_path / "prediction")
    names, kept = read_explanations(spec.directory / "round-001" / "query" / EXPLANATIONS)
    for row in copies(spec, 1):
        place = names.index(row["source"])
        fmax = kept.segments[place] == kept.top_feature[place]
        assert np.array_equal(pixels(row["image"])[fmax], images[row["source"]][fmax])


def test_rounds_of_another_strategy_have_none(tmp_path: Path) -> None:
    mixed = {"name": "early_mix", "strategy": AUGMENT, "other": "entropy"}
    recipe = small(write_pool(tmp_path / "pool"), strategy=None, arms={"mixed": mixed})
    spec, steps, _ = run(recipe, tmp_path / "runs")
    made = {step.round: step.metrics["synthetic_items"] for step in steps if step.step == "train"}
    assert made[1] > 0 and made[2] == 0
    assert not (spec.directory / "round-002" / "train" / SYNTHETIC).exists()
