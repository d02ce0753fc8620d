"""Take labels, predictions, uncertain items, suspected label errors or the model out of a run."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import torch
import yaml

from xal.campaign.trained_run import TrainedRun, open_trained_run
from xal.core.tables import defused
from xal.core.threads import threads
from xal.data.decode import payload_of
from xal.engine.worker import on_device
from xal.errors import DataError, RunError
from xal.models.model import Weights
from xal.models.train_settings import TrainSettings
from xal.models.training_data import TrainContext, TrainingData
from xal.store.artefacts import WEIGHTS
from xal.store.atomic import writing
from xal.store.directory import open_ledger
from xal.types import Floats

What = Literal["labels", "predictions", "uncertain", "suspects", "model"]
SUFFIXES = (".csv", ".jsonl", ".parquet")
FOLDS = 3
MODEL = "model.yaml"


def export(directory: Path, what: What, out: Path, limit: int = 100) -> int:
    """Write a table (.csv, .jsonl or .parquet) or, for the model, a folder; returns the number of rows.

    labels: every answer that counts, with its annotator. predictions: of all items of the pool, with probabilities.
    uncertain: the `limit` items without a label whose two likeliest classes are closest. suspects: labels that may be
    errors, see `suspects`. Raises RunError for a run without a model where one is needed, or an output that exists.
    """
    if out.exists():
        raise RunError(f"{out} exists; remove it or choose another name")
    if what == "model":
        return _export_model(open_trained_run(directory), out)
    if out.suffix.lower() not in SUFFIXES:
        raise RunError(f"{out}: expected a name that ends with {', '.join(SUFFIXES)}")
    table = labels(directory) if what == "labels" else _of_model(open_trained_run(directory), what, limit)
    _write(table, out)
    return len(table)


def labels(directory: Path) -> pa.Table:
    """(id, label, answer, annotator, at, round, chosen_by, because) of each answered item; the latest answer counts."""
    ledger = open_ledger(directory)
    queried, answers = ledger.queried(), {row["id"]: row for row in ledger.answers()}
    ledger.close()
    rows = [
        {
            "id": item.id,
            "label": item.label,
            "answer": answers[item.id]["answer"],
            "annotator": answers[item.id]["annotator"],
            "at": datetime.fromtimestamp(answers[item.id]["at"], UTC).isoformat(timespec="seconds"),
            "round": item.round,
            "chosen_by": item.reason,
            "because": item.because,
        }
        for item in queried
        if item.id in answers
    ]
    names = ("id", "label", "answer", "annotator", "at", "round", "chosen_by", "because")
    return pa.table({name: [row[name] for row in rows] for name in names})


def _of_model(run: TrainedRun, what: What, limit: int) -> pa.Table:
    if what == "suspects":
        return suspects(run)
    ids, probabilities = _probabilities(run)
    classes = run.label_space.classes
    ordered = np.sort(probabilities, axis=1)
    margin = ordered[:, -1] - ordered[:, -2]
    order = np.arange(len(ids))
    if what == "uncertain":
        answered = {item.id for item in run.queried if not item.waits}
        order = np.array([i for i in np.lexsort((ids.astype(str), margin)) if ids[i] not in answered][:limit], np.int64)
    columns: dict[str, Any] = {
        "id": ids[order].tolist(),
        "prediction": [classes[i] for i in probabilities[order].argmax(axis=1)],
        "confidence": probabilities[order].max(axis=1),
        "margin": margin[order],
    }
    if what == "predictions":
        columns |= {f"p:{name}": probabilities[order, number] for number, name in enumerate(classes)}
    return pa.table(columns)


def _probabilities(run: TrainedRun) -> tuple[npt.NDArray[np.object_], Floats]:
    """((n,) ids, (n, c) probabilities) of the pool's items that can be read."""
    pool, worker = run.pools.pool, run.worker()
    classifier = worker.classifier(run.ref)
    ids, parts = [], []
    with torch.inference_mode(), threads(worker.threads):
        for _, table in pool.scan(["id", pool.kind]):
            payload, good = payload_of(table[pool.kind], pool.kind, run.shape)
            ids += table["id"].filter(pa.array(good)).to_pylist()
            if good.any():
                found = classifier.probabilities(on_device(payload[good], classifier.device))
                parts.append(found.double().cpu().numpy())
    if not parts:
        raise DataError(f"no item of {pool.folder} can be read")
    return np.array(ids, object), np.concatenate(parts)


def suspects(run: TrainedRun) -> pa.Table:
    """(id, label, suggested, self_confidence) of labels that may be errors, the worst first.

    Probabilities are out of sample, by models of the run's recipe that are fitted to two thirds of the labels; classes
    of fewer than three labels are left out. An item
    is a suspect if it is confidently of another class: its probability of that class reaches the mean over the items
    labelled so, and the class is the likeliest of those (Northcutt, Jiang, Chuang 2021, "Confident learning").
    """
    labelled = [item for item in run.queried if item.label is not None]
    names = run.label_space.classes
    index = np.array([run.label_space.index[str(item.label)] for item in labelled], np.int64)
    rows = np.array([item.row for item in labelled], np.int64)
    order = np.argsort(rows)
    pool = run.pools.pool
    payload, good = payload_of(pool.read(rows[order], [pool.kind])[pool.kind], pool.kind, run.shape)
    kept = order[good]
    inputs, y = payload[good], index[kept]
    common = np.bincount(y, minlength=len(names)) >= FOLDS  # rarer classes cannot be predicted out of sample
    if common.sum() < 2:
        raise RunError(f"suspects: expected {FOLDS} or more labels of two or more classes; label more")
    kept, inputs, y = kept[common[y]], inputs[common[y]], y[common[y]]
    probabilities = np.zeros((len(y), len(names)))
    fold = np.empty(len(y), np.int64)
    for c in np.unique(y):  # stratified, by the order of the pool
        members = np.flatnonzero(y == c)
        fold[members] = np.arange(len(members)) % FOLDS
    settings = TrainSettings(**{**run.recipe["train"], "validation": 0})
    for number in range(FOLDS):
        train, held = fold != number, fold == number
        data = TrainingData(
            inputs=inputs[train], labels=y[train], n_classes=len(names), shape=run.shape, n_labelled=int(train.sum())
        )
        fitted = run.model.fit(data, TrainContext(settings=settings, seed=number))
        classifier = run.model.classifier(Weights(arrays=fitted.arrays, shape=run.shape, n_classes=len(names)))
        with torch.inference_mode():
            found = classifier.probabilities(on_device(inputs[held], classifier.device))
        probabilities[held] = found.double().cpu().numpy()
    present = np.unique(y)
    threshold = np.full(len(names), np.inf)
    threshold[present] = [probabilities[y == c, c].mean() for c in present]
    confident = np.where(probabilities >= threshold, probabilities, -1.0)
    suggested = confident.argmax(axis=1)
    suspect = np.flatnonzero((confident.max(axis=1) >= 0) & (suggested != y))
    own = probabilities[np.arange(len(y)), y]
    suspect = suspect[np.argsort(own[suspect], kind="stable")]
    return pa.table(
        {
            "id": [labelled[kept[i]].id for i in suspect],
            "label": [names[y[i]] for i in suspect],
            "suggested": [names[suggested[i]] for i in suspect],
            "self_confidence": own[suspect],
        }
    )


def _export_model(run: TrainedRun, out: Path) -> int:
    """Write the weights, and what `xal.load_model` needs to know."""
    what = {"model": run.recipe["model"], "classes": list(run.label_space.classes), "shape": list(run.shape)}
    with writing(out.parent, out.name) as folder:
        (folder / WEIGHTS).write_bytes(run.weights.read_bytes())
        (folder / MODEL).write_text(yaml.safe_dump(what, sort_keys=False), encoding="utf-8")
    return 1


def _write(table: pa.Table, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    suffix = out.suffix.lower()
    if suffix == ".parquet":
        pq.write_table(table, out)
        return
    if suffix == ".jsonl":
        rows = table.to_pylist()
        out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return
    for number, column in enumerate(table.schema):
        if pa.types.is_string(column.type):
            cells = [None if cell is None else defused(cell) for cell in table.column(number).to_pylist()]
            table = table.set_column(number, column.name, pa.array(cells, pa.string()))
    with out.open("wb") as stream:
        stream.write(b"\xef\xbb\xbf")  # as spreadsheets expect
        pc.write_csv(table, stream)
