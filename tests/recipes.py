"""Small recipes and pools that several tests run, and what they read of a pool or a run."""

import csv
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from xal.campaign.recipe import Recipe
from xal.campaign.run_spec import RunSpec, runs
from xal.campaign.validation import checked_pools
from xal.core.config import parse, unparse
from xal.core.progress import Reporter
from xal.data.build.writer import PoolWriter
from xal.data.images import encode_png
from xal.data.pool import Pool
from xal.datasets.colors import build_colors
from xal.store.run import Run, read_run

CLASSES = ("dark", "light", "striped")


def write_pool(path: Path, n: int = 120, files: int = 1, seed: int = 0, **columns: Any) -> Path:
    """n 12 x 12 grey PNGs of three easy classes, in `files` Parquet files; `columns` replace generated ones."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, n)
    images = []
    for label in labels:
        image = generator.integers(0, 60, (1, 12, 12))
        if label == 1:
            image += 150
        if label == 2:
            image[:, ::3] += 180
        images.append(encode_png(image.clip(0, 255).astype(np.uint8)))
    data: dict[str, Any] = {
        "id": [f"item-{i:04d}" for i in range(n)],
        "image": images,
        "label": [CLASSES[label] for label in labels],
    }
    data |= {name: values for name, values in columns.items() if values is not None}
    for name, values in columns.items():
        if values is None:
            del data[name]
    path.mkdir(parents=True, exist_ok=True)
    table = pa.table(data)
    edges = np.linspace(0, n, files + 1).astype(int)
    for number, (start, stop) in enumerate(pairwise(edges.tolist())):
        pq.write_table(table.slice(start, stop - start), path / f"part-{number:03d}.parquet", row_group_size=17)
    return path


def small(path: Path, /, **sections: Any) -> Recipe:
    """A recipe that runs in a second or two."""
    mapping: dict[str, Any] = {
        "pool": {"source": str(path)},
        "model": {"name": "convnet", "filters": 4, "hidden": 8},
        "train": {"epochs": 2, "batch_size": 8, "validation": 0.25, "threads": 1},
        "strategy": {"name": "ebano_uncertainty", "candidates": 40, "threshold": -2, "limit": 5},
        "explainer": {"name": "ebano", "k_max": 3, "restarts": 1, "iterations": 5},
        "budget": {"initial": 12, "per_round": 8, "rounds": 2},
        "engine": {"name": "serial", "batch": 16},
    }
    for name, section in sections.items():
        usual = _mapping(mapping.get(name))
        same = isinstance(section, dict) and section.get("name", usual.get("name")) == usual.get("name")
        mapping[name] = {**usual, **section} if same else section
    return parse(Recipe, mapping)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


RUN_ENGINES: dict[str, dict[str, Any]] = {"ray": {"name": "ray", "cpus": 2, "object_store_mb": 100}}


def text_pool(path: Path, n: int, seed: int) -> Path:
    """n short texts of two classes that some words tell apart."""
    generator = np.random.default_rng(seed)
    signs = {"good": ["good", "fine", "lovely"], "bad": ["bad", "poor", "dull"]}
    writer = PoolWriter(path, "text", labelled=True)
    for number in range(n):
        label = str(generator.choice(["good", "bad"]))
        words = [*generator.choice(signs[label], 2), *(f"word{k}" for k in generator.integers(0, 40, 6))]
        writer.add(f"text-{seed}-{number:03d}", " ".join(generator.permutation(words)) + f" n{number}", label)
    writer.close(["bad", "good"])
    return path


def features_pool(path: Path, n: int) -> Path:
    """n vectors of four features, of two classes that their sum tells apart."""
    generator = np.random.default_rng(0)
    writer = PoolWriter(path, "features", labelled=True, width=4)
    for number, row in enumerate(generator.normal(size=(n, 4)).astype(np.float32)):
        writer.add(f"row-{number:03d}", row.tobytes(), "high" if row.sum() > 0 else "low")
    writer.close(["high", "low"], names=["a", "b", "c", "d"])
    return path


def labels_of(pool: Path | str) -> dict[str, str]:
    """The pool's own labels by id."""
    opened = Pool.open(pool)
    table = opened.read_span(0, len(opened), ["id", "label"]).to_pydict()
    return dict(zip(table["id"], table["label"], strict=True))


def run_specs(recipe: Recipe, directory: Path, seeds: tuple[int, ...] | None = None) -> list[RunSpec]:
    """The runs of a recipe on its checked pools."""
    return runs(recipe, checked_pools(recipe), directory, seeds)


def only_run(directory: Path) -> Run:
    """The run in a folder that holds one."""
    (path,) = directory.glob("*-seed*")
    return read_run(path)


def outcome(run: Run) -> object:
    """All that a campaign decides: queries with ranks, scores and reasons, labels, accuracies, steps."""
    items = [(item.round, item.rank, item.id, item.score, item.reason, item.label) for item in run.queried]
    steps = sorted((step.round, step.step) for step in run.steps)
    return items, steps, run.curve()[1]


def xal(*arguments: object, monkeypatch: pytest.MonkeyPatch) -> int:
    """Exit code of the command, run in this process."""
    from xal.cli import app

    monkeypatch.setattr("sys.argv", ["xal", *map(str, arguments)])
    try:
        app.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def write_recipe(path: Path, recipe: Recipe) -> Path:
    """The recipe as a YAML file."""
    path.write_text(yaml.safe_dump(unparse(recipe)))
    return path


QUIET = Reporter(quiet=True)
RUN = "ebano_uncertainty-seed0"  # of `small`
TEXT_ARMS: dict[str, Any] = {
    "random": "random",
    "disagreement": {"name": "explanation_disagreement", "sample": 20},
    "mispredicted": {"name": "explanation_disagreement", "of": "mispredicted"},
    "labels": {"name": "explanation_disagreement", "of": "labels"},
    "alex": "alex",
    "density": {"name": "density_weighted", "clusters": 3},
}


def text_recipe(pool: Path, test: Path, **sections: Any) -> Recipe:
    """A small campaign on texts by every strategy that reads explanations."""
    mapping: dict[str, Any] = {
        "pool": {"source": str(pool), "test": str(test)},
        "model": {"name": "linear_svm", "encoder": "tfidf", "C": [1.0]},
        "explainer": "shap_partition",
        "arms": TEXT_ARMS,
        "budget": {"initial": 20, "per_round": 10, "rounds": 2},
        "engine": {"name": "serial", "batch": 32},
    }
    found: Recipe = parse(Recipe, mapping | sections)
    return found


def queries(directory: Path) -> dict[str, list[str]]:
    """Queried ids in order, by the name of the run."""
    return {path.name: [item.id for item in read_run(path).queried] for path in sorted(directory.glob("*-seed*"))}


def half_relevant_pool(path: Path, n: int = 120, seed: int = 0) -> Path:
    """A pool of images that says that the upper half does not matter."""
    return write_pool(path, n, seed=seed, irrelevant=pa.array([list(range(72))] * n, pa.list_(pa.int32())))


def corrected_recipe(tmp_path: Path, **sections: Any) -> Recipe:
    """A small campaign on that pool, with a simulated annotator."""
    pool = tmp_path / "pool"
    if not pool.exists():
        half_relevant_pool(pool)
    return small(pool, strategy="margin", explainer="gradient_shap", annotator="simulated", **sections)


def colors_recipe(tmp_path: Path, encoding: str, **sections: object) -> Recipe:
    """A small campaign on the colors data, with a simulated annotator."""
    build_colors(tmp_path / "pool", items=300, rule=0, encoding=encoding)  # type: ignore[arg-type]
    mapping = {
        "pool": {"source": str(tmp_path / "pool"), "test": str(tmp_path / "pool")},
        "annotator": "simulated",
        "strategy": "margin",
        "budget": {"initial": 100, "balanced": True, "per_round": 5, "rounds": 1},
        "engine": "serial",
    }
    found: Recipe = parse(Recipe, mapping | sections)
    return found


def read_batch(directory: Path, round: int) -> list[dict[str, str]]:
    """What the file annotator of a run asks for."""
    with (directory / "to-label" / f"round-{round:03d}" / "batch.csv").open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def write_answers(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A label file."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, sorted({name for row in rows for name in row}))
        writer.writeheader()
        writer.writerows(rows)
    return path
