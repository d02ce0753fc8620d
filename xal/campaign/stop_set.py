"""What stopping rules read: predictions on the stop set, the same random items of the pool in every round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xal.core.rng import HashRng
from xal.engine.coordinator import Coordinator
from xal.evaluation.stopping.rule import StoppingRule, kappa, uncertainty
from xal.store.directory import step_folder

PREDICTIONS = "stop-set.parquet"


def observe(
    rule: StoppingRule, coordinator: Coordinator, rng: HashRng, directory: Path, round: int, folder: Path
) -> dict[str, Any]:
    """Write the model's predictions on the stop set to `folder`, and compare them with those of the last round.

    Returns agreement (None without an earlier model) and uncertainty, see `Observed`.
    """
    n = len(coordinator.pool)
    drawn = np.random.default_rng(rng.child("stop").integer).permutation(n)  # a smaller sample is a part of it
    rows = np.sort(drawn[: rule.sample])
    evidence = coordinator.collect(rows, frozenset({"probabilities"}), "stop set")
    if evidence is None or evidence.probabilities is None:
        return {"agreement": None, "uncertainty": None}
    predicted = evidence.probabilities.argmax(axis=1).astype(np.int64)
    pq.write_table(pa.table({"row": evidence.rows, "predicted": predicted}), folder / PREDICTIONS)
    earlier = directory / step_folder(round - 1, "evaluate") / PREDICTIONS
    agreement = None
    if round and earlier.exists():
        before = pq.read_table(earlier)
        old = dict(zip(before["row"].to_pylist(), before["predicted"].to_pylist(), strict=True))
        shared = np.array([row in old for row in evidence.rows.tolist()], bool)
        then = np.array([old[row] for row in evidence.rows[shared].tolist()], np.int64)
        agreement = kappa(predicted[shared], then) if len(then) else None
    return {"agreement": agreement, "uncertainty": uncertainty(evidence.probabilities)}
