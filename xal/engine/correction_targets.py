"""Correction targets as a Parquet file: the campaign writes it, the training workers read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from xal.models.training_data import CorrectionTargets
from xal.store.artefacts import read_items, write_items
from xal.types import Correction, Explanations, Labels, Shape

TARGETS = {"wrong": 0.0, "missed": 1.0, "against": -1.0}
"""Target attribution of a corrected component, by kind of correction."""
_INTEGERS, _FLOATS = pa.list_(pa.int32()), pa.list_(pa.float32())
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "wrong": _INTEGERS,
        "corrected_features": _INTEGERS,
        "target": _FLOATS,
        "shown": _FLOATS,
        "explained": pa.int32(),
        "width": pa.int32(),
    }
)


def write_correction_targets(
    path: Path,
    corrections: Mapping[str, Correction],
    wrong: Mapping[str, npt.NDArray[np.bool_]],
    shown: Mapping[str, Explanations],
) -> None:
    """Write one row for each corrected item.

    wrong: masks (h, w) or (d,) of the input features that should not matter, by id; shown: the explanations that were
    corrected, by id.
    """
    rows = []
    for item, correction in corrections.items():
        explanation = shown.get(item)
        targets = {component: value for name, value in TARGETS.items() for component in getattr(correction, name)}
        components = sorted(targets)
        attributions = None if explanation is None else explanation.attributions[0]
        rows.append(
            {
                "id": item,
                "wrong": np.flatnonzero(wrong[item]),
                "corrected_features": components,
                "target": [targets[component] for component in components],
                "shown": [0.0 if attributions is None else float(attributions[i]) for i in components],
                "explained": -1 if explanation is None else int(explanation.explained_class[0]),
                "width": wrong[item].size if attributions is None else len(attributions),
            }
        )
    write_items(path, pa.Table.from_pylist(rows, SCHEMA))


def read_correction_targets(
    path: Path | None, ids: Sequence[str], labels: Labels, shape: Shape, width: int | None
) -> CorrectionTargets:
    """Correction targets of n training items; rows of items without a correction are zero.

    ids: of the labelled items, which come first; the others are synthetic and have no corrections. labels: (n,) class
    indices. path: None if there are no corrections. width: number of explanation features; None: as many as the file
    has.
    """
    table = SCHEMA.empty_table() if path is None else read_items(path)
    index_of = {item: index for index, item in enumerate(ids)}
    n, shape = len(labels), shape[-2:]
    items = np.array([index_of[item] for item in table["id"].to_pylist()], np.int64)
    wrong = np.zeros((n, int(np.prod(shape))), bool)
    rows, columns = _nonzero(table["wrong"], items)
    wrong[rows, columns] = True
    corrected = np.zeros(n, bool)
    corrected[items] = True
    explained = torch.from_numpy(labels.copy())
    classes = table["explained"].to_numpy()
    explained[torch.from_numpy(items[classes >= 0])] = torch.from_numpy(classes[classes >= 0].astype(np.int64))
    features = max(table["width"].to_pylist(), default=0) if width is None else width
    corrected_features = np.zeros((n, features), bool)
    excess, target = np.zeros((n, features), np.float32), np.zeros((n, features), np.float32)
    if features:
        rows, columns = _nonzero(table["corrected_features"], items)
        corrected_features[rows, columns] = True
        targets = table["target"].combine_chunks().flatten().to_numpy()
        shown = table["shown"].combine_chunks().flatten().to_numpy()
        excess[rows, columns], target[rows, columns] = shown - targets, targets
    return CorrectionTargets(
        corrected=torch.from_numpy(corrected),
        wrong=torch.from_numpy(wrong.reshape(n, *shape)),
        labels=torch.from_numpy(labels),
        explained=explained,
        corrected_features=torch.from_numpy(corrected_features),
        excess=torch.from_numpy(excess),
        target=torch.from_numpy(target),
    )


def _nonzero(
    column: pa.ChunkedArray, items: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(rows, columns) of the indices in a column of lists, one list for each of `items`."""
    lists = column.combine_chunks()
    return np.repeat(items, np.diff(lists.offsets.to_numpy())), lists.flatten().to_numpy().astype(np.int64)
