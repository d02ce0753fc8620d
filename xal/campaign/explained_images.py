"""Labelled images with the explanations of a run's latest model: what studies and pictures of models look at."""

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
    on: str
    round: int
    pool: Pool
    rows: Rows  # (n,) where in the pool

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in order."""
        return self.label_space.classes


def explain_labelled(
    directory: Path, items: int, progress: Callable[[str], Advance] = lambda stage: silent
) -> Explained:
    """Explain at most `items` random images of the run's test pool, else its validation pool, else its own labels.

    Of its own labels those that training held out; where it held none out, those it was trained on, and `on` says so.
    """
    run = open_trained_run(directory)
    if run.model.kind != "image":
        raise RunError(f"{directory} is a run on {run.model.kind}; this study is about images")
    pool, on, rows, known = _labelled(run, items)
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
        raise RunError(f"{directory} explains by concepts of the model's own; this study is about pixels")
    table = pool.read(evidence.rows, ["id", "image"] + (["label"] if known is None else []))
    labels = table["label"].to_pylist() if known is None else [known[item] for item in table["id"].to_pylist()]
    strangers = run.label_space.unknown(labels)
    if strangers:
        raise DataError(f"{on} has labels outside the classes: {', '.join(strangers[:5])}")
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


def _labelled(run: TrainedRun, items: int) -> tuple[Pool, str, npt.NDArray[np.int64] | None, dict[str, str] | None]:
    """(pool, its name, rows, labels by id); rows and labels where they are the run's own."""
    pools = run.pools
    for name, pool in (("the test pool", pools.test), ("the validation pool", pools.validation)):
        if pool is not None:
            return pool, name, None, None
    labelled = {item.id: item for item in run.queried if item.label is not None}
    held = holdout(list(labelled), HashRng(run.recipe["seed"]), run.recipe["train"]["validation"])
    on = "the held-out items" if held else "the items it was trained on"
    ids = np.array(held or list(labelled), object)
    drawn = ids[HashRng(0).child("study").uniform(ids).argsort(kind="stable")[:items]]
    rows = np.array([labelled[item].row for item in drawn], np.int64)
    return pools.pool, on, rows, {item: each.label or "" for item, each in labelled.items()}


def off_reasons(explained: Explained) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """((n,) share of the attribution on what does not matter, (n, h, w) where that is) of explained images.

    Raises DataError where their pool does not know what matters.
    """
    if not has_relevance(explained.pool):
        raise DataError(
            f"the pool {explained.pool.folder} does not say what matters: no column `relevant` or `irrelevant`"
        )
    found = read_relevance(explained.pool, explained.rows, explained.images.shape[1:])
    each = [explained.explanations.take(slice(place, place + 1)) for place in range(len(found))]
    shares = [on_irrelevant(relevance, explanation) for relevance, explanation in zip(found, each, strict=True)]
    masks = [mask_of(tuple(relevance.components), explained.images.shape[1:], None) for relevance in found]
    where = [~mask if relevance.relevant else mask for relevance, mask in zip(found, masks, strict=True)]
    return np.array(shares), np.stack(where)
