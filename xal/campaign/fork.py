"""Carry the labels of a run over to new runs of another recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from xal.campaign.identity import add_classes, claim
from xal.campaign.query_record import items_of
from xal.campaign.recipe import Recipe
from xal.campaign.run_spec import RunSpec, runs
from xal.campaign.trial import try_recipe
from xal.campaign.validation import checked_pools
from xal.data.pool import Pool
from xal.errors import RunError
from xal.store.artefacts import GIVEN, ITEMS, write_parts
from xal.store.atomic import writing
from xal.store.directory import held, is_run, step_folder
from xal.store.ledger import Ledger, Queried
from xal.store.run import Run, read_run


def fork(source: Path, destination: Path, recipe: Recipe) -> list[Path]:
    """Start the runs of `recipe` in the folder `destination` with all labels of the run `source`; their directories.

    Round 0 of each is the labelled items, found by id. Corrections stay behind: they are of explanations that the new
    run did not show. Raises RunError for labels of items that the pool does not hold, or labels that are no classes.
    """
    run, pools = read_run(source), checked_pools(recipe)
    labelled = [item for item in run.queried if item.label is not None]
    if not labelled:
        raise RunError(f"{source} has no labels to carry over")
    try_recipe(recipe, pools)
    specs = runs(recipe, pools, destination)
    taken = [spec.directory for spec in specs if is_run(spec.directory)]
    if taken:
        raise RunError(f"{taken[0]} holds a run; choose another folder")
    rows = _rows(pools.pool, [item.id for item in labelled])
    unknown = pools.label_space.extended(str(item.label) for item in labelled).unknown(item.label for item in labelled)
    if unknown:
        raise RunError(f"{source} has labels outside the classes: {', '.join(unknown)}; list them in pool.classes")
    for spec in specs:
        with held(spec.directory, spec.ledger) as ledger:
            claim(spec, ledger)
            _carry_over(spec, ledger, run, labelled, rows)
    return [spec.directory for spec in specs]


def _rows(pool: Pool, ids: list[str]) -> dict[str, int]:
    """{id: row in the pool}; RunError for items that it does not hold."""
    wanted = set(ids)
    rows = {
        name: first + position
        for first, table in pool.scan(["id"])
        for position, name in enumerate(table["id"].to_pylist())
        if name in wanted
    }
    missing = [name for name in ids if name not in rows]
    if missing:
        raise RunError(f"{len(missing)} labelled items are not in {pool.folder}, first '{missing[0]}'")
    return rows


def _carry_over(spec: RunSpec, ledger: Ledger, run: Run, labelled: list[Queried], rows: dict[str, int]) -> None:
    pool, labels = spec.pools.pool, {item.id: str(item.label) for item in labelled}
    add_classes(ledger, labels.values())
    order = np.array(sorted(rows.values()), np.int64)
    with writing(spec.directory, step_folder(0, "query")) as folder:
        write_parts(folder / ITEMS, items_of(pool, order))
    queried = [
        replace(item, round=0, rank=rank, row=rows[item.id], score=0.0, reason=GIVEN, prediction=None, confidence=None)
        for rank, item in enumerate(labelled)
    ]
    by = f"from {run.directory.name}"
    ledger.commit(
        0,
        "query",
        seconds=0.0,
        metrics={"chosen": {GIVEN: len(queried)}, "items": {}, "unreadable": 0, "from": str(run.directory)},
        artefact=step_folder(0, "query"),
        queried=queried,
        labels=labels,
        annotator=by,
    )
