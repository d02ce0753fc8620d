"""The pools of a recipe, opened and checked once for all its runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from xal.campaign.built_pool import built_pool
from xal.campaign.recipe import PoolSection
from xal.data.decode import pool_shape
from xal.data.label_space import LabelSpace
from xal.data.pool import Pool
from xal.datasets.demo import demo_pool, demo_test
from xal.errors import ConfigError, DataError
from xal.models.model import Model
from xal.types import Shape


@dataclass(frozen=True, kw_only=True)
class Pools:
    """The pool to query, and the labelled pools for testing and for choosing the best epoch."""

    pool: Pool
    test: Pool | None
    validation: Pool | None
    label_space: LabelSpace
    model: Model

    @cached_property
    def shape(self) -> Shape:
        """The shape of an item as the model takes it; DataError if no image can be read."""
        return self.model.fixed_shape or self.model.input_shape(pool_shape(self.pool))

    @property
    def measured(self) -> Pool | None:
        """The labelled pool that models are evaluated on: test, else validation; None: neither."""
        return self.test or self.validation


def no_notes(_note: str) -> None:
    """Say nothing."""


def open_pools(section: PoolSection, model: Model, say: Callable[[str], None] = no_notes) -> Pools:
    """Open the pools that a recipe's pool section names; a folder of images or a table is made a pool first.

    say: is told what was read and left out. Raises DataError for a missing or broken pool, ConfigError for fewer than
    two classes or repeated ones.
    """
    pool = open_pool(section, say)
    names = section.classes or pool.classes
    if len(set(names)) != len(names) or (len(names) < 2 and not section.new_classes):
        raise ConfigError([f"pool.classes: expected two or more distinct names, got {list(names)}; list them here"])
    return Pools(
        pool=pool,
        test=demo_test()
        if section.test is None and section.source == "demo"
        else _labelled(section.test, "pool.test", say),
        validation=_labelled(section.validation, "pool.validation", say),
        label_space=LabelSpace(tuple(names), section.new_classes),
        model=model,
    )


def open_pool(section: PoolSection, say: Callable[[str], None] = no_notes) -> Pool:
    """Open the pool to query; DataError if it is missing or broken."""
    return demo_pool() if section.source == "demo" else _opened(section.source, say)


def _opened(source: str, say: Callable[[str], None]) -> Pool:
    path, notes = built_pool(source)
    for note in notes:
        say(note)
    return Pool.open(path)


def _labelled(path: str | None, field: str, say: Callable[[str], None]) -> Pool | None:
    if path is None:
        return None
    pool = _opened(path, say)
    if not pool.has_labels:
        raise DataError(f"{field}: {path} has no `label` column; give a labelled pool")
    return pool


def test_place(section: PoolSection, pools: Pools) -> str | None:
    """The path of the test pool, which for the demo is in the package; None: no test pool."""
    if pools.test is None:
        return None
    return section.test or str(Path(pools.test.folder) / pools.test.files[0])
