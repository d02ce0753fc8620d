"""EBAnO-Augment (thesis 3.3.2): copies of queried images in which everything but the top feature fmax is blurred.

A copy has the label of its image, so that the network learns that the feature it looked at belongs to that class.
Copies are synthetic items: they cost no labels, and every round makes its own. The thesis keeps fmax of the predicted
class and names a flaw of this: where the prediction is wrong, fmax may show another object than the labelled one.
Explaining the labelled class after annotation (`Augmentation.explained`) avoids it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from xal.data.images import decode
from xal.engine.coordinator import Coordinator
from xal.errors import RunError
from xal.explainers.ebano import keep_only
from xal.store.artefacts import EXPLANATIONS, ITEMS, encoded, read_explanations, read_items, write_synthetic
from xal.store.ledger import Queried
from xal.strategies.strategy import Augmentation
from xal.types import Explanations

CHUNK = 64  # images converted to float at a time, to bound memory


def keep_top_feature(
    images: npt.NDArray[np.uint8], explanations: Explanations, sigma: float | None = None
) -> npt.NDArray[np.uint8]:
    """(b, c, h, w) uint8 copies, 0-255, with all but fmax blurred by `sigma` pixels (None: the default)."""
    masks: npt.NDArray[np.bool_] = explanations.segments == explanations.top_feature[:, None, None]
    copies = np.empty_like(images)
    for start in range(0, len(images), CHUNK):
        chunk = slice(start, start + CHUNK)
        blurred = keep_only(torch.from_numpy(images[chunk]), torch.from_numpy(masks[chunk]), sigma)
        copies[chunk] = blurred.round().clamp(0, 255).to(torch.uint8).numpy()
    return copies


def write_copies(
    destination: Path,
    plan: Augmentation,
    chosen: Sequence[Queried],
    index: Mapping[str, int],
    coordinator: Coordinator,
    query: Path,
) -> None:
    """Write copies of labelled, queried items to a Parquet file.

    coordinator: with the model that queried the items; index: class indices by label; query: the query's artefact
    folder. Items whose explanation failed have no copy.
    """
    labels = {item.id: item.label or "" for item in chosen}
    if plan.explained == "prediction":
        ids, explanations = _stored_explanations(query, list(labels))
    else:
        ids, explanations = _explain_labels(coordinator, chosen, {item: index[label] for item, label in labels.items()})
    table = read_items(query / ITEMS, ["id", "image"])
    payloads = dict(zip(table["id"].to_pylist(), table["image"].to_pylist(), strict=True))
    shape = coordinator.shape or (3, *explanations.segments.shape[1:])
    images, _ = decode([payloads[item] for item in ids], shape)
    sigma = coordinator.explainer.sigma(*shape[1:]) if coordinator.explainer is not None else None
    copies = keep_top_feature(images, explanations, sigma)
    write_synthetic(
        destination,
        "image",
        encoded(copies),
        sources=ids,
        labels=[labels[item] for item in ids],
        classes=[index[labels[item]] for item in ids],
    )


def _stored_explanations(query: Path, ids: list[str]) -> tuple[list[str], Explanations]:
    """(ids, explanations of the predicted class that the query step stored)."""
    names, explanations = read_explanations(query / EXPLANATIONS)
    index_of = {name: i for i, name in enumerate(names)}
    explained = [item for item in ids if item in index_of]  # explaining an item may have failed
    return explained, explanations.take([index_of[item] for item in explained])


def _explain_labels(
    coordinator: Coordinator, chosen: Sequence[Queried], explained: Mapping[str, int]
) -> tuple[list[str], Explanations]:
    """(ids, explanations of the labelled class by the model that queried the items)."""
    rows = np.array([item.row for item in chosen], np.int64)
    evidence = coordinator.collect(rows, frozenset({"explanations"}), "augment", explained=explained)
    if evidence is None or evidence.explanations is None:
        raise RunError("the queried items cannot be explained for their labels; check that the pool still holds them")
    return [str(item) for item in evidence.ids], evidence.explanations
