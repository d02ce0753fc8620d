"""The files of a run: written aside, synced, then renamed; named by the ledger only after that.

An object store has no renaming: there they are written under their final name, which means nothing until the ledger
has it, and a killed try is overwritten.

RUN/recipe.yaml  ledger.sqlite  round-003/query/{items.parquet,explanations.npz}
    round-003/train/{model.safetensors,synthetic.parquet}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from xal.core.paths import arrow, remote
from xal.data.images import encode_png
from xal.errors import RunError
from xal.types import Explanations


def explanations_in(artefact: Path) -> dict[str, Explanations]:
    """By id, of a query's artefact; none where it has no explanations."""
    if not (artefact / EXPLANATIONS).exists():
        return {}
    names, explanations = read_explanations(artefact / EXPLANATIONS)
    return {name: explanations.take(slice(i, i + 1)) for i, name in enumerate(names)}


ITEMS, EXPLANATIONS, WEIGHTS = "items.parquet", "explanations.npz", "model.safetensors"
SYNTHETIC, EXPLANATION_CACHE = "synthetic.parquet", "explanation-cache"
SMALL = 2**18  # bytes of a file
SPARSE = ("data", "indices", "indptr", "shape")


def write_items(path: Path, items: pa.Table) -> None:
    """A table of items: of queried ones, the columns id, row, and the pool's payload."""
    with path.open("wb") as handle:
        pq.write_table(items, handle, compression="zstd")


def read_items(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """What `write_items` wrote. Small files are kept in memory, since every round reads those of all rounds before."""
    name, filesystem = arrow(path)
    if not remote(path) and (status := path.stat()).st_size <= SMALL:
        table = _kept(str(path), status.st_mtime_ns, status.st_size)
        return table if columns is None else table.select(list(columns))
    return pq.read_table(name, columns=columns, filesystem=filesystem)


@lru_cache(maxsize=1024)
def _kept(path: str, changed: int, size: int) -> pa.Table:
    return pq.read_table(path)


def write_synthetic(
    path: Path,
    kind: str,
    payload: pa.Array,
    *,
    sources: Sequence[str],
    labels: Sequence[str],
    classes: Sequence[int],
    weight: float = 1.0,
) -> None:
    """Training items that are no labels: an id of their own, the item they were made from, its label, the payload."""
    columns = {
        "id": [f"{source}#synthetic-{number}" for number, source in enumerate(sources)],
        "source": list(sources),
        "label": list(labels),
        "class_index": pa.array(list(classes), pa.int64()),
        "weight": pa.array([weight] * len(sources), pa.float64()),
        kind: payload,
    }
    write_items(path, pa.table(columns))


def encoded(payload: npt.NDArray[Any]) -> pa.Array:
    """A payload as a pool has it: PNGs of images (b, c, h, w) uint8, lists of features (b, d), texts."""
    if payload.dtype == object:
        return pa.array(payload.tolist(), pa.string())
    if payload.ndim == 4:
        return pa.array([encode_png(image) for image in payload], pa.binary())
    flat = pa.array(np.ascontiguousarray(payload, np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, payload.shape[1])


def write_explanations(path: Path, ids: Sequence[str], explanations: Explanations, compressed: bool = True) -> None:
    """As npz, without pickles; a sparse array as its three parts."""
    arrays: dict[str, Any] = {}
    for name, value in ((field.name, getattr(explanations, field.name)) for field in fields(explanations)):
        if sparse.issparse(value):
            arrays |= {f"{name}.{part}": getattr(value, part) for part in SPARSE}
        elif value is not None:
            arrays[name] = value
    with path.open("wb") as handle:
        save: Any = np.savez_compressed if compressed else np.savez
        save(handle, ids=np.array(list(ids), dtype=np.str_), allow_pickle=False, **arrays)


def read_explanations(path: Path) -> tuple[list[str], Explanations]:
    """(ids, explanations) in the same order."""
    with path.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
        ids = [str(item) for item in stored["ids"]]
        found: dict[str, Any] = {}
        for name in (field.name for field in fields(Explanations)):
            if f"{name}.indptr" in stored:
                data, indices, indptr, shape = (stored[f"{name}.{part}"] for part in SPARSE)
                found[name] = sparse.csr_array((data, indices, indptr), shape=tuple(shape))
            elif name in stored:
                found[name] = stored[name]
        if "feature_kind" not in found:
            raise RunError(f"{path} was written by xal 0.1, whose explanations this xal does not read; run it anew")
        found |= {"feature_kind": str(found["feature_kind"]), "per_item": bool(found["per_item"])}
        return ids, Explanations(**found)
