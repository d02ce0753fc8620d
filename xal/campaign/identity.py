"""The identity of a run: only the recipe and pool that started it may continue it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from xal.campaign.recipe import Recipe
from xal.campaign.run_spec import RunSpec, identity
from xal.core.config import differences, parse
from xal.data.label_space import LabelSpace
from xal.errors import ConfigError, RunError
from xal.store.ledger import Ledger


def as_now(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored identity as this version of xal would write it: fields added since have their defaults."""
    sections = {key: value for key, value in stored.items() if key not in ("engine", "seed")}
    try:
        recipe = parse(Recipe, sections)
    except ConfigError:  # it names a component that is not registered here: compare it unchanged
        return stored
    arm = next(iter(recipe.strategies))
    return identity(recipe, recipe.strategies[arm], stored["seed"]) | {"engine": stored["engine"]}


def label_space_of(ledger: Ledger) -> LabelSpace:
    """The classes of a run so far; whether labels may add classes is in its recipe."""
    recipe = yaml.safe_load(ledger.metadata("recipe") or "{}")
    classes = tuple(yaml.safe_load(ledger.metadata("classes") or "[]"))
    return LabelSpace(classes, bool(recipe.get("pool", {}).get("new_classes", False)))


def add_classes(ledger: Ledger, labels: Iterable[str]) -> LabelSpace:
    """Add the classes of new labels to the run's ledger; returns all its classes."""
    before = label_space_of(ledger)
    after = before.extended(labels)
    if after != before:
        ledger.set_metadata("classes", yaml.safe_dump(list(after.classes)))
    return after


def claim(spec: RunSpec, ledger: Ledger) -> None:
    """Write the metadata of a new run, or check those of a started one; RunError if its recipe or pool differs."""
    pool = spec.pools.pool
    text = yaml.safe_dump(spec.identity(), sort_keys=True)
    stored = ledger.metadata("recipe")
    if stored is None:
        (spec.directory / "recipe.yaml").write_text(text, encoding="utf-8")
        metadata = {
            "arm": spec.arm,
            "pool": pool.fingerprint,
            "classes": yaml.safe_dump(list(spec.pools.label_space.classes)),
            "shape": yaml.safe_dump(list(spec.pools.shape)),
            "names": yaml.safe_dump(list(pool.names)),
        }
        for name, value in metadata.items():
            if ledger.metadata(name) is None:
                ledger.set_metadata(name, value)
        ledger.set_metadata("recipe", text)
    elif changed := differences(yaml.safe_load(text), as_now(yaml.safe_load(stored))):
        raise RunError(
            f"{spec.directory} holds a run of another recipe; choose another --out, or undo:\n"
            + "\n".join(f"  - {line}" for line in changed)
        )
    if ledger.metadata("pool") != pool.fingerprint:
        raise RunError(
            f"the pool of {spec.directory} has changed since the run began; restore it, or choose another --out"
        )
