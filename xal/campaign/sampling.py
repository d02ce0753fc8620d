"""Labelled items drawn by a hash of their ids: the validation split, and the baselines of explainers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xal.core.rng import HashRng
from xal.data.decode import payload_of
from xal.data.pool import Pool
from xal.explainers import Explainer
from xal.store.ledger import Queried
from xal.types import Shape


def drawn_baselines(
    explainer: Explainer | None, pool: Pool, shape: Shape, queried: Callable[[], Sequence[Queried]], seed: int,
    round: int,
) -> npt.NDArray[Any] | None:  # fmt: skip
    """(n_baselines, ...) payload of labelled items of the rounds up to `round`, as the explainer's baselines.

    None if the explainer takes no baselines, no item is labelled, or items are texts, whose masked words are left out.
    """
    if explainer is None or not explainer.n_baselines or pool.kind == "text":
        return None
    labelled = [item for item in queried() if item.round <= round and item.label is not None]
    if not labelled:
        return None
    draws = HashRng(seed).child("background", round).uniform(np.array([item.id for item in labelled], object))
    rows = np.sort([labelled[index].row for index in np.argsort(draws)[: explainer.n_baselines]])
    payload, readable = payload_of(pool.read(rows, [pool.kind])[pool.kind], pool.kind, shape)
    return payload[readable]


def holdout(items: Sequence[str], rng: HashRng, share: float) -> list[str]:
    """The ids of the validation split: those whose hash, in [0, 1), is below `share`.

    An item keeps its side of the split in all rounds. If no hash is below `share`, the item of lowest hash is held out;
    if all are, none is.
    """
    ids = np.array(items, dtype=object)
    draws = rng.child("validation").uniform(ids)
    held = ids[draws < max(share, draws.min() + 1e-12)] if share else ids[:0]  # at least one
    return [] if len(held) == len(ids) else held.tolist()
