"""Labels that the pool itself has: a campaign of people begins with them, without a query."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xal.campaign.identity import add_classes
from xal.campaign.recipe import Recipe
from xal.data.pool import Pool
from xal.engine.coordinator import Coordinator
from xal.engine.tasks import UNREADABLE
from xal.errors import DataError
from xal.store.artefacts import GIVEN
from xal.store.ledger import Ledger, Queried


def given_labels(recipe: Recipe, pool: Pool) -> dict[int, str]:
    """Label by row, where people label: those of a partly labelled pool, or of any pool with `budget.initial: 0`."""
    if recipe.annotator.simulated or not pool.has_labels:
        return {}
    found: dict[int, str] = {}
    for first, table in pool.scan(["label"]):
        for index, label in enumerate(table["label"].to_pylist()):
            if label is not None and label.strip():
                found[first + index] = label
    return {} if recipe.budget.initial and len(found) == len(pool) else found


def given_items(labels: Mapping[int, str], ledger: Ledger, coordinator: Coordinator) -> list[Queried]:
    """The items of these rows that can be read; the others are noted in `coordinator.unreadable`.

    Adds the labels to the classes of the run where it accepts new ones; raises DataError where it does not.
    """
    if not labels:
        return []
    unknown = add_classes(ledger, labels.values()).unknown(labels.values())
    if unknown:
        raise DataError(f"the pool has labels outside the classes: {', '.join(unknown[:5])}; list them in pool.classes")
    rows = np.array(sorted(labels), np.int64)
    broken = set(coordinator.undecodable(rows))
    coordinator.unreadable |= dict.fromkeys(broken, UNREADABLE)
    ids = coordinator.pool.read(rows, ["id"])["id"].to_pylist()
    kept = [(item, int(row)) for item, row in zip(ids, rows, strict=True) if item not in broken]
    return [
        Queried(id=item, round=0, rank=rank, row=row, score=0.0, reason=GIVEN) for rank, (item, row) in enumerate(kept)
    ]
