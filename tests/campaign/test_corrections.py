"""Campaigns that ask for corrections: simulated, by file, and what training makes of them."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.recipes import CLASSES, RUN_ENGINES, small, text_pool, write_pool
from xal.campaign.experiment import run_experiment
from xal.campaign.import_labels import import_labels
from xal.campaign.recipe import Recipe, load
from xal.core.config import parse
from xal.core.progress import Reporter
from xal.data.images import decode
from xal.data.pool import Pool
from xal.datasets.colors import build_colors, colors, rules
from xal.errors import ConfigError, LabelError, XalError
from xal.store.artefacts import read_items
from xal.store.directory import open_ledger
from xal.store.run import Run, read_run

QUIET = Reporter(quiet=True)


def told(path: Path, n: int = 120, seed: int = 0) -> Path:
    """A pool of images that says that the upper half does not matter."""
    return write_pool(path, n, seed=seed, irrelevant=pa.array([list(range(72))] * n, pa.list_(pa.int32())))


def told_recipe(tmp_path: Path, **sections: Any) -> Recipe:
    """A small campaign on that pool, its annotator simulated."""
    return small(
        told(tmp_path / "pool") if not (tmp_path / "pool").exists() else tmp_path / "pool",
        strategy="margin",
        explainer="gradient_shap",
        annotator="simulated",
        **sections,
    )


def only(directory: Path) -> Run:
    return read_run(next(directory.glob("*-seed*")))


@pytest.mark.parametrize("feedback", ["counterexamples", "rrr", "rrr_gradcam", "unused"])
def test_corrections_are_kept_and_learned_from(tmp_path: Path, feedback: str) -> None:
    recipe = told_recipe(tmp_path, feedback={"name": feedback, "shown": 20})
    run_experiment(recipe, tmp_path / "runs", QUIET)
    run = only(tmp_path / "runs")
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
        told(tmp_path / "pool"),
        strategy=None,
        arms=dict.fromkeys(("plain", "taught", "punished"), "margin"),
        explainer="gradient_shap",
        annotator={"name": "simulated", "corrects": "always"},
        feedback={"name": "unused", "shown": 20},
        feedbacks={"taught": {"name": "counterexamples", "shown": 20}, "punished": {"name": "rrr", "shown": 20}},
    )
    run_experiment(recipe, tmp_path / "runs", QUIET)
    found = {path.name: read_run(path) for path in (tmp_path / "runs").glob("*-seed*")}
    losses = {name: run.of("evaluate")[2].metrics["accuracy"] for name, run in found.items()}
    first = {tuple(item.id for item in run.queried if item.round < 2) for run in found.values()}
    assert len(losses) == 3 and len(first) == 1  # the same until corrections teach: those of round 1
    weights = {
        (run.directory / (run.of("train")[1].artefact or "") / "model.safetensors").read_bytes()
        for run in found.values()
    }
    assert len(weights) == 3


@pytest.mark.ray
def test_the_same_on_ray(tmp_path: Path, ray_session: object) -> None:
    recipe = told_recipe(tmp_path, feedback={"name": "counterexamples", "shown": 20})
    run_experiment(recipe, tmp_path / "serial", QUIET)
    engine = parse(Recipe, {"engine": {**RUN_ENGINES["ray"], "batch": 16}}).engine
    run_experiment(replace(recipe, engine=engine), tmp_path / "ray", QUIET)
    serial, ray = only(tmp_path / "serial"), only(tmp_path / "ray")
    assert [item.id for item in serial.queried] == [item.id for item in ray.queried]
    assert serial.of("label")[2].metrics == ray.of("label")[2].metrics


@pytest.mark.parametrize(
    ("rates", "check"),
    [
        ({"missing": 1.0}, lambda run, kept: not kept),
        ({"wrong_labels": 1.0}, lambda run, kept: len(kept) < len(run.queried)),
        ({"noisy": 1.0}, lambda run, kept: all(min(each.correction.wrong) >= 72 for each in kept.values())),
    ],
)
def test_annotators_make_mistakes(tmp_path: Path, rates: dict[str, float], check: Any) -> None:
    recipe = told_recipe(tmp_path, feedback={"name": "unused", "shown": 20})
    recipe = replace(recipe, annotator=parse(Recipe, {"annotator": {"name": "simulated"} | rates}).annotator)
    run_experiment(recipe, tmp_path / "runs", QUIET)
    run = only(tmp_path / "runs")
    ledger = open_ledger(run.directory)
    assert check(run, ledger.corrections())
    ledger.close()
    pool = Pool.open(tmp_path / "pool")
    relevance = dict(zip(*pool.read_span(0, len(pool), ["id", "label"]).to_pydict().values(), strict=True))
    wrong = sum(item.label != relevance[item.id] for item in run.queried)
    assert wrong == (len(run.queried) if "wrong_labels" in rates else 0)
    assert {item.label for item in run.queried} <= set(CLASSES)


def by_file(tmp_path: Path) -> tuple[Recipe, Path, dict[str, str]]:
    """(recipe, run directory, true labels) of a run on texts that waits for the labels of round 1."""
    source = text_pool(tmp_path / "pool.parquet", 120, 0)
    mapping = {
        "pool": {"source": str(source)},
        "model": {"name": "linear_svm", "encoder": "tfidf", "C": [1.0]},
        "explainer": {"name": "shap_partition", "max_evals": 40},
        "strategy": "margin",
        "annotator": "file",
        "feedback": {"name": "counterexamples", "replacement": "alternative", "shown": 3},
        "budget": {"initial": 20, "per_round": 5, "rounds": 1},
        "engine": "serial",
    }
    recipe: Recipe = parse(Recipe, mapping)
    pool = Pool.open(source)
    relevance = dict(zip(*pool.read_span(0, len(pool), ["id", "label"]).to_pydict().values(), strict=True))
    run_experiment(recipe, tmp_path / "runs", QUIET)
    directory = tmp_path / "runs" / "margin-seed0"
    rows = batch(directory, 0)
    answer(tmp_path / "first.csv", [{"id": row["id"], "label": relevance[row["id"]]} for row in rows])
    import_labels(directory, tmp_path / "first.csv", "me")
    run_experiment(recipe, tmp_path / "runs", QUIET)
    return recipe, directory, relevance


def batch(directory: Path, round: int) -> list[dict[str, str]]:
    with (directory / "to-label" / f"round-{round:03d}" / "batch.csv").open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def answer(path: Path, rows: list[dict[str, Any]]) -> Path:
    names = sorted({name for row in rows for name in row})
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, names)
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.usefixtures("database")
def test_corrections_by_file(tmp_path: Path) -> None:
    recipe, directory, relevance = by_file(tmp_path)
    rows = batch(directory, 1)
    assert all(len(row["shown"].split("; ")) == 3 and row["wrong"] == "" for row in rows)
    assert "missed" not in rows[0]  # counterexamples learn nothing from it
    answers = [{"id": row["id"], "label": relevance[row["id"]], "wrong": ""} for row in rows]
    first = rows[0]["shown"].split("; ")
    answers[0]["wrong"] = f"{first[0].upper()}; {first[2]}"
    answers[1]["wrong"] = rows[1]["shown"].split("; ")[1]
    assert import_labels(directory, answer(tmp_path / "second.csv", answers), "me") == (5, 0)
    assert import_labels(directory, tmp_path / "second.csv", "me") == (0, 0)  # the same again is no change
    run_experiment(recipe, tmp_path / "runs", QUIET)
    run = read_run(directory)
    metrics = run.of("train")[1].metrics
    assert run.state == "finished" and metrics["synthetic_items"] in (0, 1, 2)
    held = metrics["validation_items"]
    assert metrics["train_items"] == 25 - held
    ledger = open_ledger(directory)
    kept = ledger.corrections()
    ledger.close()
    assert kept.keys() == {rows[0]["id"], rows[1]["id"]} and len(kept[rows[0]["id"]].correction.wrong) == 2
    folder = directory / (run.of("train")[1].artefact or "")
    if metrics["synthetic_items"]:
        made = read_items(folder / "counterexamples.parquet").to_pylist()
        by_source = {each["source"]: each["text"].split() for each in made}
        whole = [word for word in rows[0]["text"].split() if word not in (first[0], first[2])]
        assert by_source.get(rows[0]["id"], whole) == whole


@pytest.mark.usefixtures("database")
def test_bad_corrections_are_all_listed_and_nothing_is_taken(tmp_path: Path) -> None:
    _, directory, relevance = by_file(tmp_path)
    rows = batch(directory, 1)
    hidden = next(word for word in rows[1]["text"].split() if word not in rows[1]["shown"].split("; "))
    shown = [row["shown"].split("; ")[0] for row in rows]
    earlier = batch(directory, 0)[0]["id"]
    answers = [
        {"id": rows[0]["id"], "label": relevance[rows[0]["id"]], "wrong": "nosuchword"},
        {"id": rows[1]["id"], "label": relevance[rows[1]["id"]], "wrong": hidden},
        {"id": rows[2]["id"], "label": relevance[rows[2]["id"]], "wrong": f"{shown[2]}; {shown[2]}"},
        {"id": rows[2]["id"] + "x", "label": "", "wrong": shown[2]},
        {"id": rows[3]["id"], "label": relevance[rows[3]["id"]], "wrong": shown[3], "missed": shown[3]},
        {"id": rows[4]["id"], "label": relevance[rows[4]["id"]], "wrong": shown[4]},
        {"id": earlier, "label": relevance[earlier], "wrong": "good"},
        {"id": "stranger", "label": "good", "wrong": "good"},
    ]
    before = open_ledger(directory).queried()
    with pytest.raises(LabelError) as raised:
        import_labels(directory, answer(tmp_path / "bad.csv", answers), "me")
    message = str(raised.value)
    for part in (
        "nothing was imported",
        "has no component 'nosuchword'",
        f"'{hidden}' was not shown as relevant; shown: {rows[1]['shown'].replace('; ', ', ')}",
        f"'{rows[2]['id']}x' has a correction and no label",
        "missed: counterexamples learns from wrong; leave it empty",
        f"said twice of {shown[2]}",
        f"'{earlier}': no explanation of it was shown",
        "'stranger' was not queried",
    ):
        assert part in message, message
    ledger = open_ledger(directory)
    assert ledger.queried() == before and not ledger.corrections()
    ledger.close()
    good = [{"id": rows[4]["id"], "label": relevance[rows[4]["id"]]}]
    import_labels(directory, answer(tmp_path / "good.csv", good), "me")
    late = [{"id": rows[4]["id"], "label": relevance[rows[4]["id"]], "wrong": shown[4]}]
    with pytest.raises(LabelError, match="labelled without a correction before"):
        import_labels(directory, answer(tmp_path / "late.csv", late), "me")


def test_jsonl_corrections_are_lists(tmp_path: Path) -> None:
    _, directory, relevance = by_file(tmp_path)
    rows = batch(directory, 1)
    lines = [{"id": row["id"], "label": relevance[row["id"]], "wrong": row["shown"].split("; ")[:2]} for row in rows]
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert import_labels(directory, path, "me") == (5, 0)
    ledger = open_ledger(directory)
    assert len(ledger.corrections()) == 5
    ledger.close()


def test_corrections_where_none_are_asked_for(tmp_path: Path) -> None:
    recipe, _, relevance = by_file(tmp_path)
    run_experiment(replace(recipe, feedback=None), tmp_path / "plain", QUIET)
    directory = tmp_path / "plain" / "margin-seed0"
    item = batch(directory, 0)[0]["id"]
    assert "wrong" not in batch(directory, 0)[0]
    with pytest.raises(LabelError, match="asks for none"):
        import_labels(
            directory, answer(tmp_path / "a.csv", [{"id": item, "label": relevance[item], "wrong": "good"}]), "me"
        )


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        ({"model": "linear_svm", "feedback": "rrr"}, "'rrr' needs gradients, which model 'linear_svm'"),
        ({"model": "perceptron", "feedback": "cali_ranking"}, "'cali_ranking' needs self_explaining"),
        ({"strategy": "margin", "explainer": None, "feedback": "counterexamples"}, "asks about explanations"),
        ({"feedbacks": {"x": "rrr"}}, "feedbacks: 'x' is no arm"),
        (
            {"model": {"name": "senn", "of": "image"}, "feedback": "cali_ranking"},
            "'cali_ranking' corrects what the model says itself; take self_explaining",
        ),
        (
            {"model": "senn", "explainer": "self_explaining", "feedback": "cali_ranking", "train": {"flip": True}},
            "'cali_ranking' corrects pixels where they were shown; set it to false",
        ),
        (
            {"model": {"name": "senn", "phi": "learned"}, "explainer": "self_explaining", "feedback": "rrr"},
            "'rrr' changes parts of items, and concepts are none",
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


def test_a_pool_that_does_not_know(tmp_path: Path) -> None:
    recipe = told_recipe(tmp_path, feedback={"name": "unused", "shown": 5})
    plain = replace(recipe.pool, source=str(write_pool(tmp_path / "plain")))
    with pytest.raises(XalError, match="a column `relevant` or `irrelevant`"):
        run_experiment(replace(recipe, pool=plain), tmp_path / "runs", QUIET)


def test_colors_are_of_both_rules_or_of_none(tmp_path: Path) -> None:
    images, positive = colors(600, seed=3)
    zero, one = rules(images)
    np.testing.assert_array_equal(zero, positive)
    np.testing.assert_array_equal(one, positive)
    assert len({image.tobytes() for image in images}) == 600 and positive.sum() == 300
    by_hand = [len({image[0], image[4], image[20], image[24]}) == 1 for image in images.tolist()]
    assert by_hand == zero.tolist()
    assert [len({*image[1:4]}) == 3 for image in images.tolist()] == one.tolist()
    np.testing.assert_array_equal(colors(900, seed=3)[0][:600], images)  # test items follow training items
    build_colors(tmp_path / "codes", items=40, rule=1, encoding="codes")
    build_colors(tmp_path / "onehot", items=40, rule=0, encoding="onehot", skip=40)
    codes = pq.read_table(tmp_path / "codes" / "part-00000.parquet").to_pylist()
    onehot = pq.read_table(tmp_path / "onehot" / "part-00000.parquet").to_pylist()
    assert all(row["relevant"] == [1, 2, 3] for row in codes)
    for row in onehot:
        values = np.array(row["features"])
        assert (
            values.sum() == 25 and values[row["relevant"]].all() and {r // 4 for r in row["relevant"]} == {0, 4, 20, 24}
        )
    assert not {row["id"] for row in codes} & {row["id"] for row in onehot}


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
    run = only(tmp_path / "runs")
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
    recipe = told_recipe(tmp_path, feedback={"name": "counterexamples", "shown": 20, "weight": 0.5})
    run_experiment(recipe, tmp_path / "first", QUIET)
    first = only(tmp_path / "first")
    made = read_items(first.directory / (first.of("train")[2].artefact or "") / "counterexamples.parquet")
    assert set(made["weight"].to_pylist()) == {0.5}
    tests = write_pool(tmp_path / "tests", 60, seed=5, image=made["image"].to_pylist()[:1] * 60)
    again = replace(recipe, pool=replace(recipe.pool, test=str(tests)))
    run_experiment(again, tmp_path / "second", QUIET)
    second = only(tmp_path / "second")
    found = second.of("train")[2].metrics["synthetic_items"]
    assert found == len(made) - 1  # the one that is a test item is left out
    heavy = replace(recipe, feedback=replace(recipe.feedback, weight=1.0))  # type: ignore[type-var]
    run_experiment(heavy, tmp_path / "heavy", QUIET)
    third = only(tmp_path / "heavy")
    files = [run.directory / (run.of("train")[2].artefact or "") / "model.safetensors" for run in (first, third)]
    assert third.of("train")[2].metrics["synthetic_items"] > 0 and files[0].read_bytes() != files[1].read_bytes()


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
