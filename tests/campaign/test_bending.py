"""A campaign that people change: labels that exist, other answers, classes, budget, strategy; what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.recipes import CLASSES, RUN, labels_of, read_batch, small, text_pool, text_recipe, write_answers, write_pool
from xal.campaign.experiment import run_experiment
from xal.campaign.export import export
from xal.campaign.fork import fork
from xal.campaign.identity import append_classes, label_space_of
from xal.campaign.import_labels import import_labels
from xal.core.progress import Reporter
from xal.errors import LabelError, RunError
from xal.store.directory import held, open_ledger
from xal.store.run import read_run

QUIET = Reporter(quiet=True)
CLASS_LIST = {"classes": list(CLASSES)}


def people(tmp_path: Path, pool: Path, **sections: Any) -> Any:
    given = {"annotator": "file", "pool": CLASS_LIST, "explainer": None, "strategy": "margin"} | sections
    return small(pool, **given)


def answer(directory: Path, round: int, label_of: dict[str, str], tmp_path: Path) -> None:
    rows = [{"id": row["id"], "label": label_of[row["id"]]} for row in read_batch(directory, round)]
    import_labels(directory, write_answers(tmp_path / f"round-{round}.csv", rows), "me")


def partly(tmp_path: Path, known: int = 30) -> tuple[Path, dict[str, str]]:
    """A pool of 120 images, of which the first `known` have their label; and all labels."""
    pool = write_pool(tmp_path / "pool")
    label_of = labels_of(pool)
    labels = [label_of[name] if number < known else None for number, name in enumerate(sorted(label_of))]
    return write_pool(tmp_path / "pool", label=pa.array(labels, pa.string())), label_of


def test_labels_that_exist_are_used_and_not_asked_for(tmp_path: Path) -> None:
    pool, label_of = partly(tmp_path)
    for initial, waiting in ((0, 0), (12, 12)):
        runs = tmp_path / str(initial)
        (outcome,) = run_experiment(people(tmp_path, pool, budget={"initial": initial, "rounds": 0}), runs, QUIET)
        assert outcome.waiting == waiting
        run = read_run(outcome.directory)
        given = {item.id for item in run.queried if item.label is not None}
        assert given == set(sorted(label_of)[:30]) and len(run.queried) == 30 + waiting
    trained = read_run(tmp_path / "0" / "margin-seed0").of("train")[0].metrics
    assert trained["train_items"] + trained["validation_items"] == 30
    batch = read_batch(outcome.directory, 0)
    assert len(batch) == 12 and not given & {row["id"] for row in batch}


def test_answers_that_are_no_label_leave_the_batch(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    label_of = labels_of(pool)
    (outcome,) = run_experiment(people(tmp_path, pool, budget={"rounds": 0}), tmp_path / "runs", QUIET)
    rows = [{"id": row["id"], "label": label_of[row["id"]]} for row in read_batch(outcome.directory, 0)]
    for row, said in zip(rows, ("skip", "Unsure", "none of these"), strict=False):
        row["label"] = said
    new, waiting = import_labels(outcome.directory, write_answers(tmp_path / "a.csv", rows), "me")[:2]
    assert (new, waiting) == (12, 0)
    run_experiment(people(tmp_path, pool, budget={"rounds": 0}), tmp_path / "runs", QUIET)
    run = read_run(outcome.directory)
    assert run.state == "finished"
    assert run.of("label")[0].metrics["left_out"] == {"skip": 1, "unsure": 1, "none": 1}
    assert [item.left_out for item in run.queried[:4]].count(None) == 1
    assert run.of("train")[0].metrics["train_items"] + run.of("train")[0].metrics["validation_items"] == 9


def test_labels_are_superseded_and_all_are_kept(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    label_of = labels_of(pool)
    (outcome,) = run_experiment(people(tmp_path, pool, budget={"rounds": 0}), tmp_path / "runs", QUIET)
    answer(outcome.directory, 0, label_of, tmp_path)
    first = read_batch(outcome.directory, 0)[0]["id"]
    other = next(name for name in CLASSES if name != label_of[first])
    changed = write_answers(tmp_path / "b.csv", [{"id": first, "label": other}])
    with pytest.raises(LabelError, match="already, now.*--correct"):
        import_labels(outcome.directory, changed, "you")
    assert import_labels(outcome.directory, changed, "you", correct=True)[:2] == (1, 0)
    assert import_labels(outcome.directory, changed, "you", correct=True)[:2] == (0, 0)
    ledger = open_ledger(outcome.directory)
    assert {item.id: item.label for item in ledger.queried()}[first] == other
    said = [(row["label"], row["annotator"]) for row in ledger.answers() if row["id"] == first]
    assert said == [(label_of[first], "me"), (other, "you")]
    ledger.close()


def test_items_that_were_not_queried_may_be_labelled(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    label_of = labels_of(pool)
    recipe = people(tmp_path, pool, budget={"rounds": 1})
    (outcome,) = run_experiment(recipe, tmp_path / "runs", QUIET)
    asked = {row["id"] for row in read_batch(outcome.directory, 0)}
    others = sorted(set(label_of) - asked)[:5]
    rows = [{"id": name, "label": label_of[name]} for name in others]
    with pytest.raises(LabelError, match="'stranger' was not queried, and is not in the pool"):
        import_labels(
            outcome.directory, write_answers(tmp_path / "x.csv", [*rows, {"id": "stranger", "label": "dark"}]), "me"
        )
    assert import_labels(outcome.directory, write_answers(tmp_path / "a.csv", rows), "me")[:2] == (5, 12)
    answer(outcome.directory, 0, label_of, tmp_path)
    run_experiment(recipe, tmp_path / "runs", QUIET)
    run = read_run(outcome.directory)
    assert run.of("train")[0].metrics["train_items"] + run.of("train")[0].metrics["validation_items"] == 17
    assert not {row["id"] for row in read_batch(outcome.directory, 1)} & set(others)


def test_a_batch_of_one_class_is_no_dead_end(tmp_path: Path) -> None:
    pool = text_pool(tmp_path / "pool.parquet", 60, 0)
    recipe = text_recipe(
        pool, pool, arms=None, strategy="margin", annotator="file", budget={"initial": 10, "per_round": 10, "rounds": 1}
    )
    (outcome,) = run_experiment(recipe, tmp_path / "runs", QUIET)
    rows = [{"id": row["id"], "label": "good"} for row in read_batch(outcome.directory, 0)]
    import_labels(outcome.directory, write_answers(tmp_path / "a.csv", rows), "me")
    (outcome,) = run_experiment(recipe, tmp_path / "runs", QUIET)
    assert (outcome.round, outcome.waiting) == (1, 10)
    assert {item.reason for item in read_run(outcome.directory).queried} == {"random"}
    answer(outcome.directory, 1, labels_of(pool), tmp_path)
    (outcome,) = run_experiment(recipe, tmp_path / "runs", QUIET)
    assert outcome.finished and 1 in read_run(outcome.directory).of("evaluate")


def test_what_may_change_is_recorded_and_what_may_not_is_refused(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    label_of = labels_of(pool)
    (outcome,) = run_experiment(people(tmp_path, pool, budget={"rounds": 0}), tmp_path / "runs", QUIET)
    answer(outcome.directory, 0, label_of, tmp_path)
    run_experiment(people(tmp_path, pool, budget={"rounds": 0}), tmp_path / "runs", QUIET)
    (pool.parent / "elsewhere").symlink_to(pool)
    changed = people(tmp_path, pool.parent / "elsewhere", budget={"rounds": 1, "per_round": 3}, strategy="entropy")
    (outcome,) = run_experiment(changed, tmp_path / "runs", QUIET)
    assert outcome.directory.name == "margin-seed0" and outcome.waiting == 3
    ledger = open_ledger(outcome.directory)
    ((history),) = [yaml.safe_load(ledger.metadata("changes"))]
    ledger.close()
    assert [line.split(":")[0] for line in history[0]["changes"]] == [
        "budget.per_round",
        "budget.rounds",
        "pool.source",
        "strategy.name",
    ]
    for other in ({"model": "perceptron", "explainer": None}, {"seed": 0, "train": {"epochs": 7}}):
        with pytest.raises(RunError, match=r"(?s)another recipe.*xal fork.*(model\.name|train\.epochs)"):
            run_experiment(people(tmp_path, pool, **other), tmp_path / "runs", QUIET)
    with pytest.raises(RunError, match=r"new classes come after the others"):
        run_experiment(
            small(pool, annotator="file", pool={"classes": ["new", *CLASSES]}, explainer=None, strategy="margin"),
            tmp_path / "runs",
            QUIET,
        )


def test_classes_are_added(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    (outcome,) = run_experiment(people(tmp_path, pool, budget={"rounds": 0}), tmp_path / "runs", QUIET)
    with held(outcome.directory) as ledger:
        append_classes(ledger, ["mixed"])
        with pytest.raises(RunError, match="expected new, distinct"):
            append_classes(ledger, ["dark"])
        assert label_space_of(ledger).classes == (*CLASSES, "mixed")
    rows = [{"id": row["id"], "label": "mixed"} for row in read_batch(outcome.directory, 0)[:2]]
    assert import_labels(outcome.directory, write_answers(tmp_path / "a.csv", rows), "me")[:2] == (2, 10)


def test_another_model_with_the_same_labels(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    run_experiment(small(pool, budget={"rounds": 1}), tmp_path / "runs", QUIET)
    recipe = people(tmp_path, pool, model={"name": "perceptron", "hidden": [8]}, budget={"per_round": 4, "rounds": 1})
    (directory,) = fork(tmp_path / "runs" / RUN, tmp_path / "new", recipe)
    before = {item.id: item.label for item in read_run(tmp_path / "runs" / RUN).queried}
    (outcome,) = run_experiment(recipe, tmp_path / "new", QUIET)
    run = read_run(directory)
    assert {item.id: item.label for item in run.queried if item.round == 0} == before
    assert outcome.waiting == 4 and 0 in run.of("evaluate")
    with pytest.raises(RunError, match="holds a run"):
        fork(tmp_path / "runs" / RUN, tmp_path / "new", recipe)
    small_pool = write_pool(tmp_path / "small", n=60)
    with pytest.raises(RunError, match=r"labelled items are not in .*small"):
        fork(tmp_path / "runs" / RUN, tmp_path / "third", people(tmp_path, small_pool, budget={"rounds": 0}))
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize("swapped", ["pool", "test"])
@pytest.mark.parametrize("change", ["reversed", "labels"])
def test_a_pool_of_the_same_size_with_other_content_is_noticed(tmp_path: Path, swapped: str, change: str) -> None:
    paths = {name: write_pool(tmp_path / name, seed=seed) for seed, name in enumerate(("pool", "test"))}
    recipe = small(paths["pool"], pool={"test": str(paths["test"])}, explainer=None, strategy="margin")
    run_experiment(recipe, tmp_path / "runs", QUIET)
    run_experiment(recipe, tmp_path / "runs", QUIET)
    (file,) = paths[swapped].glob("*.parquet")
    table = pq.read_table(file)
    order = np.arange(len(table))[::-1]
    if change == "reversed":
        table = table.take(pa.array(order))
    else:
        table = table.set_column(2, "label", table["label"].take(pa.array(order)))
    pq.write_table(table, file, row_group_size=17)
    with pytest.raises(RunError, match=r"has changed since the run began: .* holds sha256:\w+ now, sha256:\w+ then"):
        run_experiment(recipe, tmp_path / "runs", QUIET)


def test_what_is_taken_out(tmp_path: Path) -> None:
    import xal

    pool = text_pool(tmp_path / "pool.parquet", 120, 0)
    recipe = text_recipe(pool, pool, arms=None, strategy="margin", budget={"initial": 40, "per_round": 10, "rounds": 1})
    (outcome,) = run_experiment(recipe, tmp_path / "runs", QUIET)
    assert export(outcome.directory, "labels", tmp_path / "l.parquet") == 50
    assert set(pq.read_table(tmp_path / "l.parquet")["label"].to_pylist()) == {"bad", "good"}
    assert export(outcome.directory, "predictions", tmp_path / "p.parquet") == 120
    predictions = pq.read_table(tmp_path / "p.parquet")
    assert export(outcome.directory, "uncertain", tmp_path / "u.parquet", limit=5) == 5
    uncertain = pq.read_table(tmp_path / "u.parquet")
    labelled = set(pq.read_table(tmp_path / "l.parquet")["id"].to_pylist())
    margins = {row["id"]: row["margin"] for row in predictions.to_pylist() if row["id"] not in labelled}
    assert uncertain["margin"].to_pylist() == sorted(margins.values())[:5]
    with pytest.raises(RunError, match="exists"):
        export(outcome.directory, "labels", tmp_path / "l.parquet")
    export(outcome.directory, "model", tmp_path / "model")
    model = xal.load_model(tmp_path / "model")
    texts = pq.read_table(pool)["text"].to_pylist()
    assert model.predict(texts).tolist() == predictions["prediction"].to_pylist()
    flipped = write_answers(
        tmp_path / "flip.csv",
        [
            {"id": item.id, "label": {"good": "bad", "bad": "good"}[str(item.label)]}
            for item in read_run(outcome.directory).queried[:2]
        ],
    )
    import_labels(outcome.directory, flipped, "me", correct=True)
    export(outcome.directory, "suspects", tmp_path / "s.parquet")
    suspects = pq.read_table(tmp_path / "s.parquet")
    assert {item.id for item in read_run(outcome.directory).queried[:2]} <= set(suspects["id"].to_pylist())


def test_a_pool_that_is_used_up_ends_the_campaign(tmp_path: Path) -> None:
    pool, label_of = partly(tmp_path, known=100)
    recipe = people(tmp_path, pool, budget={"initial": 12, "per_round": 8, "rounds": 3})
    (outcome,) = run_experiment(recipe, tmp_path / "runs", QUIET)
    for round in (0, 1):
        answer(outcome.directory, round, label_of, tmp_path)
        (outcome,) = run_experiment(recipe, tmp_path / "runs", QUIET)
    assert outcome.finished and read_run(outcome.directory).state == "finished: all items are queried"
