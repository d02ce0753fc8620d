"""The files of a run. They are written to a temporary folder, synced and renamed before the ledger names them.

An object store cannot rename: files are written under their final name there, and count only once the ledger names
them. The next attempt overwrites what a killed one left.

RUN/recipe.yaml  ledger.sqlite  round-003/query/{items.parquet,explanations.npz}
    round-003/train/{model.safetensors,synthetic.parquet}
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.torch import load
from scipy import sparse

from xal.core.paths import arrow, remote
from xal.data.images import encode_png
from xal.errors import RunError
from xal.types import Explanations


def explanations_in(artefact: Path) -> dict[str, Explanations]:
    """The explanations in a query's artefact by id; empty if it has none."""
    if not (artefact / EXPLANATIONS).exists():
        return {}
    ids, explanations = read_explanations(artefact / EXPLANATIONS)
    return {item: explanations.item(i) for i, item in enumerate(ids)}


ITEMS, EXPLANATIONS, WEIGHTS = "items.parquet", "explanations.npz", "model.safetensors"
SYNTHETIC, EXPLANATION_CACHE = "synthetic.parquet", "explanation-cache"
GIVEN = "given"
"""The reason of items with labels that nobody asked for, and the first word of the folders that hold them."""
SMALL = 2**18  # bytes up to which a file is cached in memory
GROUP_BYTES, BATCH_ROWS = 2**25, 256
SPARSE = ("data", "indices", "indptr", "shape")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what libraries raise for a file that is cut short or damaged into a RunError that names it."""
    try:
        yield
    except (pa.ArrowException, BadZipFile, SafetensorError, KeyError, ValueError, EOFError, zlib.error) as error:
        raise RunError(
            f"{path} is damaged or was cut short ({str(error).strip() or type(error).__name__}); restore it from a "
            "backup, or start again with another --out"
        ) from error
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing; restore it from a backup, or start again with another --out") from error


def read_weights(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a model's weights; raises RunError for a damaged file."""
    with readable(path):
        return {name: tensor.numpy() for name, tensor in load(path.read_bytes()).items()}


def write_items(path: Path, items: pa.Table) -> None:
    """Write a table of items as Parquet; queried items have the columns id, row and the pool's payload."""
    write_parts(path, iter([items]))


def write_parts(path: Path, parts: Iterator[pa.Table]) -> None:
    """Write a table of items that comes in parts, of which there is at least one."""
    first = next(parts)
    with path.open("wb") as handle, pq.ParquetWriter(handle, first.schema, compression="zstd") as writer:
        for part in chain([first], parts):
            writer.write_table(part, row_group_size=max(1, GROUP_BYTES * len(part) // max(part.nbytes, 1)))


def count_items(path: Path) -> int:
    """Number of items in a file of them."""
    name, filesystem = arrow(path)
    with readable(path):
        return int(pq.read_metadata(name, filesystem=filesystem).num_rows)


def batches_of(path: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The items of a file, at most BATCH_ROWS at a time; files of queried items are read in pieces."""
    name, filesystem = arrow(path)
    with readable(path):
        if not remote(path) and path.stat().st_size <= SMALL:
            tables: Iterator[pa.Table] = iter([read_items(path, columns)])
        else:
            parquet = pq.ParquetFile(name, filesystem=filesystem)
            tables = (parquet.read_row_group(group, columns) for group in range(parquet.num_row_groups))
        for table in tables:
            for start in range(0, len(table), BATCH_ROWS):
                yield table.slice(start, BATCH_ROWS)


def read_items(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table of items. Small files are cached, since every round reads those of all earlier rounds."""
    name, filesystem = arrow(path)
    with readable(path):
        if not remote(path) and (status := path.stat()).st_size <= SMALL:
            table = _cached(str(path), status.st_mtime_ns, status.st_size)
            return table if columns is None else table.select(list(columns))
        return pq.read_table(name, columns=columns, filesystem=filesystem)


@lru_cache(maxsize=1024)
def _cached(path: str, changed: int, size: int) -> pa.Table:
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
    """Write synthetic training items: a new id, the source item with its label and class index, and the payload."""
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
    """A payload as a pool's column: images (b, c, h, w) uint8 as PNG, features (b, d) as float32 lists, texts."""
    if payload.dtype == object:
        return pa.array(payload.tolist(), pa.string())
    if payload.ndim == 4:
        return pa.array([encode_png(image) for image in payload], pa.binary())
    flat = pa.array(np.ascontiguousarray(payload, np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, payload.shape[1])


def write_explanations(path: Path, ids: Sequence[str], explanations: Explanations, compressed: bool = True) -> None:
    """Write explanations as npz without pickles; a sparse array is stored as its parts."""
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
    """(ids, explanations), in the same order; raises RunError for a file of xal 0.1."""
    with readable(path), path.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
        ids = [str(item) for item in stored["ids"]]
        arrays: dict[str, Any] = {}
        for name in (field.name for field in fields(Explanations)):
            if f"{name}.indptr" in stored:
                data, indices, indptr, shape = (stored[f"{name}.{part}"] for part in SPARSE)
                arrays[name] = sparse.csr_array((data, indices, indptr), shape=tuple(shape))
            elif name in stored:
                arrays[name] = stored[name]
        if "feature_kind" not in arrays:
            raise RunError(f"{path} was written by xal 0.1, whose explanations cannot be read any more; run it again")
        arrays |= {"feature_kind": str(arrays["feature_kind"]), "per_item": bool(arrays["per_item"])}
        return ids, Explanations(**arrays)
