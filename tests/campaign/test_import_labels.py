"""Labels and corrections that come back in files: taken whole or not at all."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.recipes import QUIET, labels_of, read_batch, text_pool, write_answers
from xal.campaign.experiment import run_experiment
from xal.campaign.import_labels import constants, import_labels
from xal.campaign.recipe import Recipe
from xal.core.config import parse
from xal.data.build.writer import PoolWriter
from xal.data.pool import Pool
from xal.errors import LabelError
from xal.store.artefacts import read_items
from xal.store.directory import open_ledger
from xal.store.run import read_run


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
    label_of = labels_of(source)
    run_experiment(recipe, tmp_path / "runs", QUIET)
    directory = tmp_path / "runs" / "margin-seed0"
    rows = read_batch(directory, 0)
    write_answers(tmp_path / "first.csv", [{"id": row["id"], "label": label_of[row["id"]]} for row in rows])
    import_labels(directory, tmp_path / "first.csv", "me")
    run_experiment(recipe, tmp_path / "runs", QUIET)
    return recipe, directory, label_of


@pytest.mark.usefixtures("database")
def test_corrections_by_file(tmp_path: Path) -> None:
    recipe, directory, label_of = by_file(tmp_path)
    rows = read_batch(directory, 1)
    assert all(len(row["shown"].split("; ")) == 3 and row["wrong"] == "" for row in rows)
    assert "missed" not in rows[0]  # counterexamples learn nothing from it
    answers = [{"id": row["id"], "label": label_of[row["id"]], "wrong": ""} for row in rows]
    first = rows[0]["shown"].split("; ")
    answers[0]["wrong"] = f"{first[0].upper()}; {first[2]}"
    answers[1]["wrong"] = rows[1]["shown"].split("; ")[1]
    assert import_labels(directory, write_answers(tmp_path / "second.csv", answers), "me")[:2] == (5, 0)
    assert import_labels(directory, tmp_path / "second.csv", "me")[:2] == (0, 0)  # the same again is no change
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
    _, directory, label_of = by_file(tmp_path)
    rows = read_batch(directory, 1)
    hidden = next(word for word in rows[1]["text"].split() if word not in rows[1]["shown"].split("; "))
    shown = [row["shown"].split("; ")[0] for row in rows]
    earlier = read_batch(directory, 0)[0]["id"]
    answers = [
        {"id": rows[0]["id"], "label": label_of[rows[0]["id"]], "wrong": "nosuchword"},
        {"id": rows[1]["id"], "label": label_of[rows[1]["id"]], "wrong": hidden},
        {"id": rows[2]["id"], "label": label_of[rows[2]["id"]], "wrong": f"{shown[2]}; {shown[2]}"},
        {"id": rows[2]["id"] + "x", "label": "", "wrong": shown[2]},
        {"id": rows[3]["id"], "label": label_of[rows[3]["id"]], "wrong": shown[3], "missed": shown[3]},
        {"id": rows[4]["id"], "label": label_of[rows[4]["id"]], "wrong": shown[4]},
        {"id": earlier, "label": label_of[earlier], "wrong": "good"},
        {"id": "stranger", "label": "good", "wrong": "good"},
    ]
    before = open_ledger(directory).queried()
    with pytest.raises(LabelError) as raised:
        import_labels(directory, write_answers(tmp_path / "bad.csv", answers), "me")
    message = str(raised.value)
    for part in (
        "nothing was imported",
        "has no component 'nosuchword'",
        f"'{hidden}' was not shown as relevant; shown: {rows[1]['shown'].replace('; ', ', ')}",
        f"'{rows[2]['id']}x' has a correction and no label",
        "missed: counterexamples learns from wrong; leave it empty",
        f"marked more than once: {shown[2]}",
        f"'{earlier}': no explanation of it was shown",
        "'stranger' was not queried",
    ):
        assert part in message, message
    ledger = open_ledger(directory)
    assert ledger.queried() == before and not ledger.corrections()
    ledger.close()
    good = [{"id": rows[4]["id"], "label": label_of[rows[4]["id"]]}]
    import_labels(directory, write_answers(tmp_path / "good.csv", good), "me")
    late = [{"id": rows[4]["id"], "label": label_of[rows[4]["id"]], "wrong": shown[4]}]
    import_labels(directory, write_answers(tmp_path / "late.csv", late), "me")  # a correction may come after the label
    ledger = open_ledger(directory)
    assert list(ledger.corrections()) == [rows[4]["id"]]
    ledger.close()


def test_jsonl_corrections_are_lists(tmp_path: Path) -> None:
    _, directory, label_of = by_file(tmp_path)
    rows = read_batch(directory, 1)
    lines = [{"id": row["id"], "label": label_of[row["id"]], "wrong": row["shown"].split("; ")[:2]} for row in rows]
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert import_labels(directory, path, "me")[:2] == (5, 0)
    ledger = open_ledger(directory)
    assert len(ledger.corrections()) == 5
    ledger.close()


def test_corrections_where_none_are_asked_for(tmp_path: Path) -> None:
    recipe, _, label_of = by_file(tmp_path)
    run_experiment(replace(recipe, feedback=None), tmp_path / "plain", QUIET)
    directory = tmp_path / "plain" / "margin-seed0"
    item = read_batch(directory, 0)[0]["id"]
    assert "wrong" not in read_batch(directory, 0)[0]
    with pytest.raises(LabelError, match="has no feedback"):
        import_labels(
            directory,
            write_answers(tmp_path / "a.csv", [{"id": item, "label": label_of[item], "wrong": "good"}]),
            "me",
        )


def test_what_is_the_same_in_the_whole_pool_cannot_be_corrected(tmp_path: Path) -> None:
    writer = PoolWriter(tmp_path / "pool.parquet", "features", labelled=True, width=4)
    generator = np.random.default_rng(0)
    for number, row in enumerate(generator.normal(size=(60, 4)).astype(np.float32)):
        row[2] = 1.5
        writer.add(f"row-{number:03d}", row.tobytes(), "high" if row[0] > 0 else "low")
    writer.close(["high", "low"], names=["a", "b", "c", "d"])
    pool = Pool.open(tmp_path / "pool.parquet")
    masks = {("x", name): np.arange(4) == place for place, name in enumerate("abcd")}
    assert constants(pool, (4,), masks) == [("x", "c")]
    assert constants(pool, (4,), {("x", "c, d"): np.array([False, False, True, True])}) == []
    mapping = {
        "pool": {"source": str(tmp_path / "pool.parquet")},
        "model": {"name": "logistic_regression", "C": [1.0]},
        "explainer": {"name": "lime", "samples": 30, "background": 3},
        "strategy": "margin",
        "annotator": "file",
        "feedback": {"name": "counterexamples", "shown": None},
        "budget": {"initial": 20, "per_round": 4, "rounds": 1},
        "engine": "serial",
    }
    recipe: Recipe = parse(Recipe, mapping)
    label_of = labels_of(tmp_path / "pool.parquet")
    run_experiment(recipe, tmp_path / "runs", QUIET)
    directory = tmp_path / "runs" / "margin-seed0"
    first = [{"id": row["id"], "label": label_of[row["id"]]} for row in read_batch(directory, 0)]
    first[0]["wrong"] = "c"
    with pytest.raises(LabelError, match="wrong: 'c' is the same in all items of the pool, so counterexamples cannot"):
        import_labels(directory, write_answers(tmp_path / "first.csv", first), "me")
    assert all(item.label is None for item in read_run(directory).queried)
    moved = (tmp_path / "pool.parquet").rename(tmp_path / "moved.parquet")  # out of reach: training will leave it out
    with pytest.raises(LabelError, match="the item has no component 'e'"):
        import_labels(directory, write_answers(tmp_path / "e.csv", [first[0] | {"wrong": "c; e"}]), "me")
    moved.rename(tmp_path / "pool.parquet")
    first[0]["wrong"] = "d"
    assert import_labels(directory, write_answers(tmp_path / "first.csv", first), "me")[:2] == (20, 0)
