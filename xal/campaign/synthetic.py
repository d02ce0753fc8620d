"""The synthetic items of a round: EBAnO-Augment's copies of what it queried, with the labels that came back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from xal.data.images import decode
from xal.engine.query import Coordinator
from xal.errors import RunError
from xal.explainers import Ebano
from xal.feedback.augment import keep_strongest
from xal.store.artefacts import EXPLANATIONS, ITEMS, encoded, read_explanations, read_items, write_synthetic
from xal.store.ledger import Queried
from xal.strategies.strategy import Augmentation
from xal.types import Explanations


def write_copies(
    destination: Path,
    plan: Augmentation,
    chosen: Sequence[Queried],
    index: Mapping[str, int],
    coordinator: Coordinator,
    query: Path,
) -> None:
    """Write copies of labelled, queried items to a Parquet file.

    coordinator: holds the model that queried them; index: class indices by label; query: the query's artefact.
    """
    labels = {item.id: item.label or "" for item in chosen}
    if plan.explained == "prediction":
        ids, explanations = _kept(query, list(labels))
    else:
        ids, explanations = _anew(coordinator, chosen, {item: index[label] for item, label in labels.items()})
    table = read_items(query / ITEMS, ["id", "image"])
    payloads = dict(zip(table["id"].to_pylist(), table["image"].to_pylist(), strict=True))
    shape = coordinator.shape or (3, *explanations.segments.shape[1:])
    images, _ = decode([payloads[item] for item in ids], shape)
    sigma = coordinator.explainer.sigma(*shape[1:]) if isinstance(coordinator.explainer, Ebano) else None
    copies = keep_strongest(images, explanations, sigma)
    write_synthetic(
        destination,
        "image",
        encoded(copies),
        sources=ids,
        labels=[labels[item] for item in ids],
        classes=[index[labels[item]] for item in ids],
    )


def _kept(query: Path, ids: list[str]) -> tuple[list[str], Explanations]:
    """As they were explained at the query, for the predicted class."""
    names, explanations = read_explanations(query / EXPLANATIONS)
    place = {name: i for i, name in enumerate(names)}
    explained = [item for item in ids if item in place]  # one may have failed to be explained
    return explained, explanations.take([place[item] for item in explained])


def _anew(
    coordinator: Coordinator, chosen: Sequence[Queried], explained: Mapping[str, int]
) -> tuple[list[str], Explanations]:
    """By the same model for the class of the label."""
    rows = np.array([item.row for item in chosen], np.int64)
    evidence = coordinator.collect(rows, frozenset({"explanations"}), "augment", explained=explained)
    if evidence is None or evidence.explanations is None:
        raise RunError("the queried items cannot be explained anew; are they still in the pool?")
    return [str(item) for item in evidence.ids], evidence.explanations
