"""Campaigns that ask for corrections, and what training makes of them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.recipes import (
    QUIET,
    RUN_ENGINES,
    corrected_recipe,
    half_relevant_pool,
    labels_of,
    only_run,
    read_batch,
    small,
    write_answers,
    write_pool,
)
from xal.campaign.experiment import run_experiment
from xal.campaign.explain import explain_item
from xal.campaign.explained_images import explain_labelled
from xal.campaign.import_labels import import_labels
from xal.campaign.lime_fidelity import against_exact
from xal.campaign.recipe import Recipe
from xal.core.config import parse
from xal.data.images import decode
from xal.data.pool import Pool
from xal.datasets.colors import build_colors, rules
from xal.errors import ConfigError, RunError
from xal.feedback import Feedback
from xal.feedback.feedback import CorrectionBatch
from xal.models.torch.senn import Senn
from xal.report.html import write_report
from xal.store.artefacts import read_items
from xal.store.directory import open_ledger
from xal.store.run import read_run


@pytest.mark.parametrize("feedback", ["counterexamples", "rrr", "rrr_gradcam", "unused"])
def test_corrections_are_kept_and_learned_from(tmp_path: Path, feedback: str) -> None:
    recipe = corrected_recipe(tmp_path, feedback={"name": feedback, "shown": 20})
    run_experiment(recipe, tmp_path / "runs", QUIET)
    run = only_run(tmp_path / "runs")
    ledger = open_ledger(run.directory)
    kept = ledger.corrections()
    ledger.close()
    queried = {item.id: item for item in run.queried}
    assert kept and all(queried[item].round > 0 for item in kept)  # nothing was shown in round 0
    for item, found in kept.items():
        assert found.shown == f"round-{queried[item].round:03d}/query" and found.annotator == "simulated"
        assert set(found.correction.wrong) <= set(range(72)) and not found.correction.missed
        assert queried[item].prediction == queried[item].label  # only right answers are corrected
    for round in (1, 2):
        metrics = run.of("label")[round].metrics
        assert metrics["right_for_right"] + metrics["right_for_wrong"] + metrics["wrong"] == 8
        assert metrics["right_for_wrong"] == sum(queried[item].round == round for item in kept)
        assert 0 <= metrics["explanation_f1"] <= 1 and 0 < metrics["on_irrelevant"] < 1
    trained = run.of("train")[2]
    folder = run.directory / (trained.artefact or "")
    files = {path.name for path in folder.iterdir()}
    if feedback == "counterexamples":
        assert "counterexamples.parquet" in files and trained.metrics["synthetic_items"] > 0
        made = read_items(folder / "counterexamples.parquet")
        assert set(made["source"].to_pylist()) <= set(kept)
        row = made.slice(0, 1).to_pylist()[0]
        pool = Pool.open(tmp_path / "pool")
        source = pool.read(np.array([queried[row["source"]].row]), ["image", "label"]).to_pylist()[0]
        before, after = (decode([each["image"]], (1, 12, 12))[0][0, 0].ravel() for each in (source, row))
        changed = np.flatnonzero(before != after)
        assert set(changed) <= set(kept[row["source"]].correction.wrong) and len(changed)
        assert row["label"] == source["label"] and row["weight"] == 1.0
    else:
        assert trained.metrics["synthetic_items"] == 0 and ("correction_targets.parquet" in files) == (
            feedback != "unused"
        )
    assert trained.metrics["train_items"] + trained.metrics["validation_items"] == 28  # copies are no labels


def test_feedback_changes_what_is_learned(tmp_path: Path) -> None:
    recipe = small(
        half_relevant_pool(tmp_path / "pool"),
        strategy=None,
        arms=dict.fromkeys(("plain", "copies", "penalty"), "margin"),
        explainer="gradient_shap",
        annotator={"name": "simulated", "corrects": "always"},
        feedback={"name": "unused", "shown": 20},
        feedbacks={"copies": {"name": "counterexamples", "shown": 20}, "penalty": {"name": "rrr", "shown": 20}},
    )
    run_experiment(recipe, tmp_path / "runs", QUIET)
    found = {path.name: read_run(path) for path in (tmp_path / "runs").glob("*-seed*")}
    losses = {name: run.of("evaluate")[2].metrics["accuracy"] for name, run in found.items()}
    first = {tuple(item.id for item in run.queried if item.round < 2) for run in found.values()}
    assert len(losses) == 3 and len(first) == 1  # the same until corrections change training: those of round 1
    weights = {
        (run.directory / (run.of("train")[1].artefact or "") / "model.safetensors").read_bytes()
        for run in found.values()
    }
    assert len(weights) == 3


@pytest.mark.ray
def test_the_same_on_ray(tmp_path: Path, ray_session: object) -> None:
    recipe = corrected_recipe(tmp_path, feedback={"name": "counterexamples", "shown": 20})
    run_experiment(recipe, tmp_path / "serial", QUIET)
    engine = parse(Recipe, {"engine": {**RUN_ENGINES["ray"], "batch": 16}}).engine
    run_experiment(replace(recipe, engine=engine), tmp_path / "ray", QUIET)
    serial, ray = only_run(tmp_path / "serial"), only_run(tmp_path / "ray")
    assert [item.id for item in serial.queried] == [item.id for item in ray.queried]
    assert serial.of("label")[2].metrics == ray.of("label")[2].metrics


def test_the_right_pixels_are_corrected(tmp_path: Path) -> None:
    """The released code's fault: relevant pixels were 'corrected', too."""
    build_colors(tmp_path / "pool", items=200, rule=0, encoding="codes")
    build_colors(tmp_path / "test", items=50, rule=0, encoding="codes", skip=200)
    mapping = {
        "pool": {"source": str(tmp_path / "pool"), "test": str(tmp_path / "test")},
        "model": {"name": "linear_svm", "encoder": "equal_pairs", "C": [1.0], "calibrate": False},
        "explainer": {"name": "lime", "output": "margin", "samples": 60, "keep": 4, "background": 3},
        "annotator": "simulated",
        "strategy": "margin",
        "feedback": {"name": "counterexamples", "replacement": "alternative", "n_copies": 3, "shown": 4},
        "budget": {"initial": 10, "balanced": True, "per_round": 5, "rounds": 3},
        "evaluate_explanations": 10,
        "engine": "serial",
    }
    run_experiment(parse(Recipe, mapping), tmp_path / "runs", QUIET)
    run = only_run(tmp_path / "runs")
    ledger = open_ledger(run.directory)
    kept = ledger.corrections()
    ledger.close()
    assert kept and not any({0, 4, 20, 24} & set(found.correction.wrong) for found in kept.values())
    made = read_items(run.directory / (run.of("train")[3].artefact or "") / "counterexamples.parquet")
    rows = {item.id: item.row for item in run.queried}
    pool = Pool.open(tmp_path / "pool")
    for copy in made.to_pylist():
        before = pool.read(np.array([rows[copy["source"]]]), ["features"])["features"][0].as_py()
        changed = {i for i in range(25) if before[i] != copy["features"][i]}
        assert changed and changed <= set(kept[copy["source"]].correction.wrong)
    zero, _ = rules(np.array(made["features"].to_pylist(), np.int64))
    np.testing.assert_array_equal(zero, np.array(made["label"].to_pylist()) == "positive")  # still true to the rule
    metrics = run.of("evaluate")[3].metrics
    assert {"explanation_f1", "explanation_recall", "on_irrelevant"} <= metrics.keys()


def test_no_counterexample_is_a_test_item_and_weights_count(tmp_path: Path) -> None:
    recipe = corrected_recipe(tmp_path, feedback={"name": "counterexamples", "shown": 20, "weight": 0.5})
    run_experiment(recipe, tmp_path / "first", QUIET)
    first = only_run(tmp_path / "first")
    made = read_items(first.directory / (first.of("train")[2].artefact or "") / "counterexamples.parquet")
    assert set(made["weight"].to_pylist()) == {0.5}
    tests = write_pool(tmp_path / "tests", 60, seed=5, image=made["image"].to_pylist()[:1] * 60)
    again = replace(recipe, pool=replace(recipe.pool, test=str(tests)))
    run_experiment(again, tmp_path / "second", QUIET)
    second = only_run(tmp_path / "second")
    found = second.of("train")[2].metrics["synthetic_items"]
    assert found == len(made) - 1  # the one that is a test item is left out
    heavy = replace(recipe, feedback=replace(recipe.feedback, weight=1.0))  # type: ignore[type-var]
    run_experiment(heavy, tmp_path / "heavy", QUIET)
    third = only_run(tmp_path / "heavy")
    files = [run.directory / (run.of("train")[2].artefact or "") / "model.safetensors" for run in (first, third)]
    assert third.of("train")[2].metrics["synthetic_items"] > 0 and files[0].read_bytes() != files[1].read_bytes()


def test_the_labels_share_counts_before_there_are_corrections(tmp_path: Path) -> None:
    """lambda l_Y + alpha Omega: with lambda = 1/2 the regulariser weighs twice what it does beside l_Y alone."""
    build_colors(tmp_path / "pool", items=60, rule=0, encoding="onehot")
    found = {}
    for name, alpha, feedback in (
        ("half", 0.05, {"name": "cali_ranking", "label_share": 0.5}),
        ("whole", 0.05, {"name": "cali_ranking", "label_share": 1.0}),
        ("plain", 0.05, None),
    ):
        recipe = parse(Recipe, {
            "pool": {"source": str(tmp_path / "pool"), "test": str(tmp_path / "pool")},
            "model": {"name": "senn", "layers": 2, "width": 8, "alpha": alpha}, "explainer": "self_explaining",
            "train": {"epochs": 3, "validation": 0, "threads": 1, "optimizer": "sgd"}, "strategy": "margin",
            "annotator": "simulated", "feedback": feedback, "budget": {"initial": 20, "rounds": 0}, "engine": "serial",
        })  # fmt: skip
        run_experiment(recipe, tmp_path / name, QUIET)
        run = only_run(tmp_path / name)
        found[name] = (run.directory / (run.of("train")[0].artefact or "") / "model.safetensors").read_bytes()
    assert found["whole"] == found["plain"] != found["half"]


def test_concepts_are_shown_and_corrected_by_their_number(tmp_path: Path) -> None:
    source = write_pool(tmp_path / "pool")
    recipe = small(
        source,
        strategy="margin",
        model={"name": "senn", "of": "image", "phi": "learned", "concepts": 5, "width": 8},
        explainer="self_explaining",
        feedback={"name": "cali_ranking", "shown": 3},
        annotator="file",
        budget={"rounds": 1},
    )
    label_of = labels_of(source)
    for round in range(2):
        run_experiment(recipe, tmp_path / "runs", QUIET)
        directory = only_run(tmp_path / "runs").directory
        answers = [{"id": row["id"], "label": label_of[row["id"]]} for row in read_batch(directory, round)]
        if round:
            rows = read_batch(directory, 1)
            assert all(len(row["shown"].split("; ")) == 3 and row["shown"].startswith("concept ") for row in rows)
            assert {"wrong", "missed", "against"} <= rows[0].keys()
            picture = directory / "to-label" / "round-001" / rows[0]["explanation"]
            assert picture.read_bytes()[:4] == b"\x89PNG"
            answers[0] |= {"wrong": rows[0]["shown"].split("; ")[0], "missed": "", "against": ""}
            unseen = next(f"concept {k}" for k in range(5) if f"concept {k}" not in rows[1]["shown"])
            answers[1] |= {"wrong": "", "missed": unseen, "against": ""}
        import_labels(directory, write_answers(tmp_path / f"{round}.csv", answers), "me")
    run_experiment(recipe, tmp_path / "runs", QUIET)
    run = only_run(tmp_path / "runs")
    assert run.state == "finished" and run.of("label")[1].metrics["corrections"] == 2
    page = write_report([run.directory], tmp_path / "report.html")
    assert "wrong: concept" in page.read_text() and "missed: concept" in page.read_text()
    content, line = explain_item(run.directory, run.queried[0].id)
    assert content[:4] == b"\x89PNG" and "p = " in line
    with pytest.raises(RunError, match="explains concepts that its model learned"):
        explain_labelled(run.directory, 5)
    with pytest.raises(RunError, match="its model explains concepts"):
        against_exact(run.directory, [10], [1], 5, 2)
    with pytest.raises(ConfigError, match="senn explains grey pixels"):
        Senn(of="image").input_shape((3, 8, 8))


@dataclass(frozen=True, kw_only=True)
class Inverted(Feedback):
    """A user's own, which overrides `copies` alone: the negative of each corrected item."""

    def copies(self, batch: CorrectionBatch, seed: int) -> tuple[Any, np.ndarray]:
        return 255 - batch.payload, np.arange(len(batch.ids))


def test_copies_by_a_users_own_feedback_are_trained_on(tmp_path: Path) -> None:
    plain = corrected_recipe(tmp_path, feedback={"name": "unused", "shown": 20})
    found = {}
    for feedback in (plain.feedback, Inverted(shown=20)):
        assert feedback is not None
        name = type(feedback).__name__
        run_experiment(replace(plain, feedback=feedback), tmp_path / name, QUIET)
        found[name] = only_run(tmp_path / name)
    run = found["Inverted"]
    step = run.of("train")[2]
    rows = read_items(run.directory / (step.artefact or "") / "counterexamples.parquet").to_pylist()
    sources = {item for item, said in run.corrections.items() if said.correction.wrong}
    assert step.metrics["synthetic_items"] == len(rows) > 0 and {row["source"] for row in rows} <= sources
    at = {item.id: item.row for item in run.queried}
    pool = Pool.open(tmp_path / "pool")
    for row in rows:
        image = pool.read(np.array([at[row["source"]]]), ["image"])["image"].to_pylist()
        before, after = decode([*image, row["image"]], (1, 12, 12))[0]
        np.testing.assert_array_equal(after, 255 - before)
    first = next(round for round, each in run.of("train").items() if each.metrics["synthetic_items"])
    weights = [each.directory / f"round-{first:03d}" / "train" / "model.safetensors" for each in found.values()]
    assert weights[0].read_bytes() != weights[1].read_bytes()  # the same labels, and copies besides
