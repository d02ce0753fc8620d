"""The identity of a run: what may change while it runs, and what would make its past untrue."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from xal.campaign.recipe import Recipe
from xal.campaign.run_spec import RunSpec, identity
from xal.core.config import differences, parse
from xal.core.imports import check_stored
from xal.data.label_space import LabelSpace
from xal.errors import ConfigError, RunError
from xal.store.atomic import write_text
from xal.store.ledger import Ledger


def as_now(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored identity as this version of xal would write it: fields added since have their defaults."""
    try:
        check_stored(stored, Path("the run"))
    except RunError:  # code that the user did not name is not imported to compare it
        return stored
    sections = {key: value for key, value in stored.items() if key not in ("engine", "seed")}
    try:
        recipe = parse(Recipe, sections)
    except ConfigError:  # it names a component that is not registered here: compare it unchanged
        return stored
    arm = next(iter(recipe.strategies))
    return identity(recipe, recipe.strategies[arm], stored["seed"]) | {"engine": stored["engine"]}


def classes_of(ledger: Ledger) -> tuple[str, ...]:
    """The classes of a run so far."""
    return tuple(yaml.safe_load(ledger.metadata("classes") or "[]"))


def label_space_of(ledger: Ledger) -> LabelSpace:
    """The classes of a run so far; whether labels may add classes is in its recipe."""
    recipe = yaml.safe_load(ledger.metadata("recipe") or "{}")
    return LabelSpace(classes_of(ledger), bool(recipe.get("pool", {}).get("new_classes", False)))


def add_classes(ledger: Ledger, labels: Iterable[str]) -> LabelSpace:
    """Add the classes of new labels to the run's ledger; returns all its classes."""
    before = label_space_of(ledger)
    after = before.extended(labels)
    if after != before:
        _set_classes(ledger, before.classes, after.classes)
    return after


def append_classes(ledger: Ledger, names: Iterable[str]) -> None:
    """Add classes after those of a run, whether or not its recipe lists classes; RunError for one that it has."""
    before = label_space_of(ledger).classes
    new = list(names)
    known = [name for name in new if name in before]
    if known or len(set(new)) < len(new) or not all(name.strip() for name in new):
        raise RunError(f"expected new, distinct names of classes, got {', '.join(new)}; there are {', '.join(before)}")
    _set_classes(ledger, before, (*before, *new))


def _set_classes(ledger: Ledger, before: Sequence[str], after: Sequence[str]) -> None:
    """Set a run's classes, and record the change where the run has begun."""
    ledger.set_metadata("classes", yaml.safe_dump(list(after)))
    steps = ledger.steps()
    if steps and before:
        changed = [f"class added: {name}" for name in after if name not in before]
        changed += [f"class removed: {name}" for name in before if name not in after]
        _record(ledger, steps[-1].round, changed)


def remove_classes(ledger: Ledger, names: Iterable[str]) -> None:
    """Remove classes that were added by mistake; RunError for one that an item or a trained model has."""
    before = label_space_of(ledger).classes
    known_to_models = max((step.metrics.get("n_classes", 0) for step in ledger.steps("train")), default=0)
    gone = list(names)
    for name in gone:
        if name not in before:
            raise RunError(f"no class '{name}'; there are {', '.join(before)}")
        if count := sum(item.label == name for item in ledger.queried()):
            items = "1 item is" if count == 1 else f"{count} items are"
            raise RunError(f"{items} labelled '{name}'; change the labels first: xal label --correct")
        if before.index(name) < known_to_models:
            raise RunError(f"a trained model knows the class '{name}', so it stays; without items it does no harm")
    _set_classes(ledger, before, [name for name in before if name not in gone])


MAY_CHANGE = ("annotator", "budget", "stop", "pool.source", "pool.test", "pool.validation", "pool.embeddings")
"""What may be another at any time: how many labels, who gives them, and where files are."""
UNTIL_FINISHED = ("engine", "explainer", "strategy")
"""What may be another from a round on: it decides what is asked next."""
UNTIL_TRAINED = ("model", "train")
"""What may be put right as long as no model was trained."""


def changes(spec: RunSpec, ledger: Ledger) -> tuple[list[str], list[str]]:
    """(all, refused) differences between the recipe and that of a started run; refused: what would be untrue of it."""
    stored = yaml.safe_load(ledger.metadata("recipe") or "{}")
    lines = differences(yaml.safe_load(yaml.safe_dump(spec.identity())), as_now(stored))
    steps = ledger.steps()
    trained = any(step.step == "train" and step.artefact is not None for step in steps)
    evaluated = max((step.round for step in steps if step.step == "evaluate"), default=-1)
    free: tuple[str, ...] = MAY_CHANGE if trained else MAY_CHANGE + UNTIL_TRAINED
    if evaluated < spec.recipe.budget.rounds:
        free += UNTIL_FINISHED
    if spec.recipe.feedback is not None:  # corrections are of the explanations that were shown
        free = tuple(field for field in free if field != "explainer")
    allowed = re.compile(rf"({'|'.join(map(re.escape, free))}|pool\.classes|pool\.new_classes)[.:]")
    refused = [line for line in lines if not allowed.match(line)]
    ours, before = spec.recipe.pool.classes, label_space_of(ledger).classes
    if ours is not None and ours != before[: len(ours)] and ours[: len(before)] != before:
        refused.append(f"pool.classes: {list(before)} there, {list(ours)} here; new classes come after the others")
    return lines, refused


def refuse(directory: Path, refused: list[str]) -> None:
    """Raise RunError that lists what would make a run's past untrue, and the ways on; nothing for []."""
    if refused:
        raise RunError(
            f"{directory} holds a run of another recipe; undo this, choose another --out, or carry its labels over "
            f"(xal fork {directory} NEW RECIPE):\n" + "\n".join(f"  - {line}" for line in refused)
        )


def claim(spec: RunSpec, ledger: Ledger) -> list[str]:
    """Write the metadata of a new run, or check those of a started one; returns what the recipe changes from now on.

    Raises RunError if the recipe would make the run's past untrue, or if a pool holds other items than when it began.
    """
    text = yaml.safe_dump(spec.identity(), sort_keys=True)
    stored = ledger.metadata("recipe")
    if stored is None:
        write_text(spec.directory / "recipe.yaml", text)
        metadata = {
            "arm": spec.arm,
            "classes": yaml.safe_dump(list(spec.pools.label_space.classes)),
            "shape": yaml.safe_dump(list(spec.pools.shape)),
            "names": yaml.safe_dump(list(spec.pools.pool.names)),
        }
        for name, value in metadata.items():
            if ledger.metadata(name) is None:
                ledger.set_metadata(name, value)
        _check_pools(spec, ledger)
        ledger.set_metadata("recipe", text)
        return []
    _check_pools(spec, ledger)
    changed, refused = changes(spec, ledger)
    refuse(spec.directory, refused)
    if changed:
        steps = ledger.steps()
        listed = spec.recipe.pool.classes
        if listed is not None and len(listed) > len(label_space_of(ledger)):
            ledger.set_metadata("classes", yaml.safe_dump(list(listed)))
        _record(ledger, steps[-1].round if steps else 0, changed)
        write_text(spec.directory / "recipe.yaml", text)
        ledger.set_metadata("recipe", text)
    return changed


def _record(ledger: Ledger, round: int, changed: list[str]) -> None:
    history = yaml.safe_load(ledger.metadata("changes") or "[]")
    history.append({"round": round, "at": time.time(), "changes": changed})
    ledger.set_metadata("changes", yaml.safe_dump(history))


def _check_pools(spec: RunSpec, ledger: Ledger) -> None:
    """Record the contents of the run's pools; RunError for one that holds other items than when the run began.

    Files that were not touched since (same inode, size and times) are not read again.
    """
    pools = {"pool": spec.pools.pool, "pool.test": spec.pools.test, "pool.validation": spec.pools.validation}
    for name, pool in pools.items():
        stored = ledger.metadata(name)
        if pool is None or (stored is not None and ledger.metadata(f"{name}.stamp") == pool.stamp):
            continue
        if stored is not None:
            now = pool.fingerprint if stored.startswith("sha256:") else pool.layout
            if now != stored:
                named = f" ({name})" * (name != "pool")
                raise RunError(
                    f"the pool{named} of {spec.directory} has changed since the run began: {pool.folder} "
                    f"holds {now} now, {stored} then; restore it, or choose another --out"
                )
        ledger.set_metadata(name, pool.fingerprint)
        ledger.set_metadata(f"{name}.stamp", pool.stamp)
