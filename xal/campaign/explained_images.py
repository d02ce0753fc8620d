"""Explain labelled images by a run's latest model, for studies and figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xal.campaign.sampling import holdout
from xal.campaign.trained_run import TrainedRun, open_trained_run
from xal.core.rng import HashRng
from xal.data.images import decode
from xal.data.label_space import LabelSpace
from xal.data.pool import Pool
from xal.engine.coordinator import Coordinator
from xal.engine.engine import Advance, silent
from xal.errors import DataError, RunError
from xal.evaluation.relevance import has_relevance, on_irrelevant, read_relevance
from xal.explainers.components import mask_of
from xal.strategies.random import Random
from xal.types import Explanations, Floats, Labels, Rows


@dataclass(frozen=True, eq=False, kw_only=True)
class Explained:
    """Labelled images with the predictions and explanations of a run's latest model."""

    images: npt.NDArray[np.uint8]  # (n, c, h, w) 0-255
    labels: Labels  # (n,)
    probabilities: Floats  # (n, c), rows sum to 1
    explanations: Explanations
    label_space: LabelSpace
    on: str  # where the images come from, such as "the test pool"
    round: int  # of the model
    pool: Pool
    rows: Rows  # (n,) positions in the pool

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in order."""
        return self.label_space.classes


def explain_labelled(
    directory: Path, items: int, progress: Callable[[str], Advance] = lambda stage: silent
) -> Explained:
    """Explain up to `items` random images of a run's test pool, else validation pool, else labelled items.

    Of the labelled items it takes the held-out ones; if there are none, those that the model was trained on. The
    result's `on` says which.

    Raises RunError for a run whose items are not images or that explains concepts, DataError for
    labels outside the classes or if no image can be read.
    """
    run = open_trained_run(directory)
    if run.model.kind != "image":
        raise RunError(f"{directory} is a run on {run.model.kind}; this study needs images")
    pool, on, rows, own_labels = _source(run, items)
    with run.engine.open() as session:
        coordinator = Coordinator(
            session=session, pool=pool, shape=run.shape, model=run.ref, explainer=run.explainer, progress=progress
        )
        if rows is None:
            rows = coordinator.query(Random(), items, HashRng(0).child("study")).items.rows
        needs = frozenset({"probabilities", "explanations"})
        evidence = coordinator.collect(rows, needs, "explain")
    if evidence is None or evidence.probabilities is None or evidence.explanations is None:
        raise DataError(f"no image of {on} can be read")
    if evidence.explanations.feature_kind == "concepts":
        raise RunError(f"{directory} explains concepts that its model learned; this study needs explanations of pixels")
    table = pool.read(evidence.rows, ["id", "image"] + (["label"] if own_labels is None else []))
    labels = (
        table["label"].to_pylist() if own_labels is None else [own_labels[item] for item in table["id"].to_pylist()]
    )
    unknown = run.label_space.unknown(labels)
    if unknown:
        raise DataError(f"{on} has labels outside the classes: {', '.join(unknown[:5])}")
    images, _ = decode(table["image"].to_pylist(), run.shape)
    return Explained(
        images=images,
        labels=run.label_space.encode(labels),
        probabilities=evidence.probabilities,
        explanations=evidence.explanations,
        label_space=run.label_space,
        on=on,
        round=run.round,
        pool=pool,
        rows=evidence.rows,
    )


def _source(run: TrainedRun, items: int) -> tuple[Pool, str, npt.NDArray[np.int64] | None, dict[str, str] | None]:
    """(pool, its name, rows, labels by id) to explain; rows and labels are None for a test or validation pool."""
    pools = run.pools
    for name, pool in (("the test pool", pools.test), ("the validation pool", pools.validation)):
        if pool is not None:
            return pool, name, None, None
    labelled = {item.id: item for item in run.queried if item.label is not None}
    held = holdout(list(labelled), HashRng(run.recipe["seed"]), run.recipe["train"]["validation"])
    on = "the held-out items" if held else "the items it was trained on"
    ids = np.array(held or list(labelled), object)
    sample = ids[HashRng(0).child("study").uniform(ids).argsort(kind="stable")[:items]]
    rows = np.array([labelled[item].row for item in sample], np.int64)
    return pools.pool, on, rows, {id: item.label or "" for id, item in labelled.items()}


def off_reasons(explained: Explained) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """((n,) share of the attribution on irrelevant pixels, in [0, 1]; (n, h, w) masks of those pixels).

    Raises DataError if the pool has no relevance column.
    """
    if not has_relevance(explained.pool):
        raise DataError(
            f"the pool {explained.pool.folder} has no column `relevant` or `irrelevant`; choose a run with such a pool"
        )
    shape = explained.images.shape[1:]
    shares, masks = [], []
    for i, relevance in enumerate(read_relevance(explained.pool, explained.rows, shape)):
        shares.append(on_irrelevant(relevance, explained.explanations.item(i)))
        mask = mask_of(tuple(relevance.components), shape, None)
        masks.append(~mask if relevance.relevant else mask)
    return np.array(shares), np.stack(masks)
