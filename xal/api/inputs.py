"""Arrays, data frames, texts and images of a notebook, as a pool on disk and as a model's inputs."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pandas.api.types import is_numeric_dtype

from xal.data.build.writer import PoolWriter
from xal.data.decode import payload_of
from xal.data.images import encode_png, load
from xal.data.pool import Pool
from xal.errors import DataError, XalError
from xal.types import Kind, Shape

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True, eq=False, kw_only=True)
class Items:
    """n items of one kind, with payloads as a pool has them."""

    kind: Kind
    payloads: Sequence[bytes | str]
    """Bytes of image files, texts, or the bytes of float32 vectors."""
    width: int = 0  # of feature vectors
    names: tuple[str, ...] = ()  # of their columns
    ids: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.payloads)

    def column(self) -> pa.Array:
        """As the payload column of a pool."""
        if self.kind == "text":
            return pa.array(self.payloads, pa.string())
        if self.kind == "image":
            return pa.array(self.payloads, pa.binary())
        values = np.frombuffer(b"".join(self.payloads), np.float32)  # type: ignore[arg-type]
        return pa.FixedSizeListArray.from_arrays(pa.array(values), self.width)

    def decoded(self, kind: Kind, shape: Shape) -> Any:
        """(n, ...) inputs of a model; see `decoded`."""
        return decoded(pa.chunked_array([self.column()]), self.kind, kind, shape)

    def write(self, path: Path, labels: Sequence[str | None] | None = None, classes: Sequence[str] = ()) -> Path:
        """Write a pool of one file; row i is item i."""
        path.mkdir(parents=True)
        writer = PoolWriter(path / "part-00000.parquet", self.kind, labelled=labels is not None, width=self.width)
        digits = len(str(len(self)))
        for number, payload in enumerate(self.payloads):
            name = f"{number:0{digits}d}" if self.ids is None else self.ids[number]
            writer.add(name, payload, None if labels is None else labels[number])
        writer.close(classes, names=self.names)
        return path


def items_of(data: Any) -> Items:
    """Items of a numpy array, a pandas DataFrame or Series, a list of texts, of PIL images or of paths to images, or a
    Hugging Face Dataset.

    An array of shape (n, d) holds features; (n, h, w), (n, h, w, c) and (n, c, h, w) of uint8 hold images. Raises
    DataError for what holds nothing, NaN, or a mixture.
    """
    if hasattr(data, "column_names") and hasattr(data, "features"):
        return _dataset(data)
    if hasattr(data, "iloc"):
        return _series(data) if data.ndim == 1 else _frame(data)
    if isinstance(data, np.ndarray) and data.dtype != object:
        return _array(data)
    values = list(data) if isinstance(data, Iterable) and not isinstance(data, str | bytes) else None
    if values is None:
        raise DataError(
            f"expected an array, a DataFrame, a list of texts or images, or a pool, got {type(data).__name__}"
        )
    if not values:
        raise DataError("there are no items")
    kinds = {_kind(value) for value in values}
    if len(kinds) > 1:
        raise DataError(f"items must be of one kind, got {', '.join(sorted(kinds))}")
    kind = kinds.pop()
    if kind == "text":
        return _texts(values)
    if kind == "path":
        return Items(kind="image", payloads=[_bytes(path) for path in values])
    if kind == "image":
        return Items(kind="image", payloads=[_png(image) for image in values])
    if kind == "array":
        return _array(np.stack([np.asarray(value) for value in values]))
    raise DataError(f"expected texts, images, paths to images or rows of numbers, got {kind}")


def decoded(column: Any, held: Kind, wanted: Kind, shape: Shape) -> Any:
    """(n, ...) inputs of a model of kind `wanted` from a payload column of kind `held`.

    DataError for another kind, and for items that cannot be read.
    """
    if held != wanted:
        raise DataError(f"the model takes {wanted}, these items are {held}")
    payload, good = payload_of(column, held, shape)
    if not good.all():
        raise DataError(f"{int((~good).sum())} of {len(good)} items cannot be read, first number {good.argmin()}")
    return payload


def pool_at(data: Any) -> Pool | None:
    """The pool where `data` is a path to one; None: it is something else."""
    if isinstance(data, str) or (isinstance(data, Path) and data.suffix.lower() not in SUFFIXES):
        if isinstance(data, str) and "://" not in data and not Path(data).expanduser().exists():
            raise DataError(f"no pool at {data!r}; for a single text give a list, [{data!r}]")
        return Pool.open(data)
    return None


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, Path):
        return "path"
    if hasattr(value, "convert") and hasattr(value, "getbands"):
        return "image"
    if isinstance(value, np.ndarray | list | tuple):
        return "array"
    return type(value).__name__


def _texts(values: Sequence[Any]) -> Items:
    blank = [number for number, text in enumerate(values) if not text.strip()]
    if blank:
        raise DataError(f"{len(blank)} of {len(values)} texts are blank, first number {blank[0]}; leave them out")
    return Items(kind="text", payloads=list(values))


def _array(values: npt.NDArray[Any]) -> Items:
    if values.ndim in (3, 4):
        if values.dtype != np.uint8:
            raise DataError(f"arrays of images must be uint8 0-255, got {values.dtype} of shape {values.shape}")
        images = values[:, None] if values.ndim == 3 else values
        images = images if images.shape[1] in (1, 3) else images.transpose(0, 3, 1, 2)
        if images.shape[1] not in (1, 3):
            raise DataError(f"images have 1 or 3 channels, got shape {values.shape}")
        return Items(kind="image", payloads=[encode_png(image) for image in images])
    if values.ndim != 2 or not values.size:
        raise DataError(f"expected features (n, d) or images (n, h, w[, c]), got shape {values.shape}")
    return _features(values, ())


def _features(values: npt.NDArray[Any], names: tuple[str, ...], ids: tuple[str, ...] | None = None) -> Items:
    try:
        rows = np.ascontiguousarray(values, np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"features must be numbers: {error}") from error
    broken = np.argwhere(~np.isfinite(rows))
    if len(broken):
        row, column = broken[0]
        where = f"column '{names[column]}'" if names else f"column {column}"
        raise DataError(
            f"{len(broken)} features are missing, NaN or infinite, first in row {row}, {where}; fill them in"
        )
    return Items(kind="features", payloads=[row.tobytes() for row in rows], width=rows.shape[1], names=names, ids=ids)


def _series(data: Any) -> Items:
    return items_of(data.tolist())


def _frame(data: Any) -> Items:
    if not len(data):
        raise DataError("the DataFrame has no rows")
    ids = tuple(map(str, data["id"])) if "id" in data.columns else None
    if ids is not None and len(set(ids)) < len(ids):
        raise DataError("the column 'id' names a row twice")
    columns = [name for name in data.columns if name != "id"]
    strings = [name for name in columns if data[name].map(lambda value: isinstance(value, str)).all()]
    chosen = "text" if "text" in strings else strings[0] if len(strings) == len(columns) == 1 else None
    if chosen is not None:
        return Items(kind="text", payloads=_texts(data[chosen].tolist()).payloads, ids=ids)
    wrong = [name for name in columns if not is_numeric_dtype(data[name].dtype)]  # booleans are numbers here
    if wrong:
        raise DataError(
            f"columns {', '.join(map(repr, wrong[:5]))} are no numbers; encode them, or call the text column 'text'"
        )
    return _features(data[columns].to_numpy(np.float64), tuple(map(str, columns)), ids)


def _dataset(data: Any) -> Items:
    for name in ("text", "image"):
        if name in data.column_names:
            return items_of(list(data[name]))
    raise DataError(f"the Dataset has no column 'text' or 'image', but {', '.join(data.column_names)}; rename one")


def _bytes(path: Path) -> bytes:
    try:
        content = Path(path).read_bytes()
        load(content)
    except (OSError, XalError) as error:
        raise DataError(f"{path} cannot be read as an image: {error}") from error
    return content


def _png(image: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
