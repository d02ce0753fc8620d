"""Whose a run directory is: the recipe and the pool that it was begun with, and no other, continue it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from xal.campaign.recipe import Recipe, RunSpec
from xal.config import differences, parse
from xal.data.pool import Pool
from xal.errors import ConfigError, RunError
from xal.models.model import Shape
from xal.store.ledger import Ledger


def as_now(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored identity as this xal would write it: what has become configurable since is at its default."""
    rest = {key: value for key, value in stored.items() if key not in ("engine", "seed")}
    try:
        recipe = parse(Recipe, rest)
    except ConfigError:  # of a component that is not here any more, or not this xal's: as it stands
        return stored
    arm = next(iter(recipe.strategies))
    now = RunSpec(recipe=recipe, arm=arm, seed=stored["seed"], directory=Path()).identity()
    return now | {"engine": stored["engine"]}


def claim(spec: RunSpec, ledger: Ledger, pool: Pool, classes: tuple[str, ...], shape: Callable[[], Shape]) -> None:
    """Write the run's facts where it begins; else RunError unless they are the same."""
    identity = yaml.safe_dump(spec.identity(), sort_keys=True)
    stored = ledger.fact("recipe")
    if stored is None:
        (spec.directory / "recipe.yaml").write_text(identity, encoding="utf-8")
        facts = {
            "arm": spec.arm,
            "pool": pool.fingerprint,
            "classes": yaml.safe_dump(list(classes)),
            "shape": yaml.safe_dump(list(shape())),
            "names": yaml.safe_dump(list(pool.names)),
        }
        for name, value in facts.items():
            if ledger.fact(name) is None:
                ledger.record_fact(name, value)
        ledger.record_fact("recipe", identity)
    elif changed := differences(yaml.safe_load(identity), as_now(yaml.safe_load(stored))):
        raise RunError(
            f"{spec.directory} holds a run of another recipe; choose another --out, or undo:\n"
            + "\n".join(f"  - {line}" for line in changed)
        )
    if ledger.fact("pool") != pool.fingerprint:
        raise RunError(f"the pool of {spec.directory} has changed since the run began; give the old one back")
