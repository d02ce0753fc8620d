"""Small recipes and pools that several tests run."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xal.campaign.recipe import Recipe
from xal.core.config import parse
from xal.data.build.writer import PoolWriter
from xal.data.images import encode_png

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
