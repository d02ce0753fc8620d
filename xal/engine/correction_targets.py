"""What corrections say, as a file: written by the campaign, read by the workers that train."""

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
"""What the attribution of a corrected component should be."""
_NUMBERS, _REALS = pa.list_(pa.int32()), pa.list_(pa.float32())
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "wrong": _NUMBERS,
        "said": _NUMBERS,
        "target": _REALS,
        "shown": _REALS,
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
    """One row a corrected item. wrong: (h, w) or (d,) masks of what should not matter; shown: what was corrected."""
    rows = []
    for item, correction in corrections.items():
        explanation = shown.get(item)
        said = {component: goal for name, goal in TARGETS.items() for component in getattr(correction, name)}
        components = sorted(said)
        attributions = None if explanation is None else explanation.attributions[0]
        rows.append(
            {
                "id": item,
                "wrong": np.flatnonzero(wrong[item]),
                "said": components,
                "target": [said[component] for component in components],
                "shown": [0.0 if attributions is None else float(attributions[each]) for each in components],
                "explained": -1 if explanation is None else int(explanation.explained_class[0]),
                "width": wrong[item].size if attributions is None else len(attributions),
            }
        )
    write_items(path, pa.Table.from_pylist(rows, SCHEMA))


def read_correction_targets(
    path: Path | None, ids: Sequence[str], labels: Labels, shape: Shape, width: int | None
) -> CorrectionTargets:
    """For n items with class indices `labels` (n,), the first of which have `ids`; the others are synthetic, and not
    corrected. path: None where nothing is corrected. width: features of the explanations that are wanted; None: all.
    """
    table = SCHEMA.empty_table() if path is None else read_items(path)
    place = {item: number for number, item in enumerate(ids)}
    n, shape = len(labels), shape[-2:]
    at = np.array([place[item] for item in table["id"].to_pylist()], np.int64)
    wrong = np.zeros((n, int(np.prod(shape))), bool)
    rows, columns = _places(table["wrong"], at)
    wrong[rows, columns] = True
    corrected = np.zeros(n, bool)
    corrected[at] = True
    explained = torch.from_numpy(labels.copy())
    given = table["explained"].to_numpy()
    explained[torch.from_numpy(at[given >= 0])] = torch.from_numpy(given[given >= 0].astype(np.int64))
    features = max(table["width"].to_pylist(), default=0) if width is None else width
    said = np.zeros((n, features), bool)
    push, target = np.zeros((n, features), np.float32), np.zeros((n, features), np.float32)
    if features:
        rows, columns = _places(table["said"], at)
        said[rows, columns] = True
        goals = table["target"].combine_chunks().flatten().to_numpy()
        shown = table["shown"].combine_chunks().flatten().to_numpy()
        push[rows, columns], target[rows, columns] = shown - goals, goals
    return CorrectionTargets(
        corrected=torch.from_numpy(corrected),
        wrong=torch.from_numpy(wrong.reshape(n, *shape)),
        labels=torch.from_numpy(labels),
        explained=explained,
        said=torch.from_numpy(said),
        push=torch.from_numpy(push),
        target=torch.from_numpy(target),
    )


def _places(column: pa.ChunkedArray, at: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    lists = column.combine_chunks()
    return np.repeat(at, np.diff(lists.offsets.to_numpy())), lists.flatten().to_numpy().astype(np.int64)
