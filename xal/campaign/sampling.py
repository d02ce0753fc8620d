"""Labelled items drawn by a hash of their ids: for validation, and as what explainers put for what is absent."""

from __future__ import annotations

from collections.abc import Sequence
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
    explainer: Explainer | None, pool: Pool, shape: Shape, queried: Sequence[Queried], seed: int, round: int
) -> npt.NDArray[Any] | None:
    """The payload of labelled items up to `round` drawn for the explainer; None: it wants none, or there are none.

    Of texts nothing is put in the place of absent words.
    """
    known = [item for item in queried if item.round <= round and item.label is not None]
    if explainer is None or not explainer.n_baselines or not known or pool.kind == "text":
        return None
    draws = HashRng(seed).child("background", round).uniform(np.array([item.id for item in known], object))
    rows = np.sort([known[place].row for place in np.argsort(draws)[: explainer.n_baselines]])
    payload, good = payload_of(pool.read(rows, [pool.kind])[pool.kind], pool.kind, shape)
    return payload[good]


def holdout(items: Sequence[str], rng: HashRng, share: float) -> list[str]:
    """A share of the labelled ids, by a hash: who is below the share stays there; never all of them.

    Where none is below it, as may be among few, the nearest is held out, until one is.
    """
    ids = np.array(items, dtype=object)
    draws = rng.child("validation").uniform(ids)
    held = ids[draws < max(share, draws.min() + 1e-12)] if share else ids[:0]  # one at least, where any are wanted
    return [] if len(held) == len(ids) else held.tolist()
