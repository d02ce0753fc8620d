"""Recipes, label files and pools that went wrong: every one is refused in words or works, and nothing is half done."""

import copy
import json
import random
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.recipes import read_batch, text_pool, text_recipe
from xal.campaign.experiment import run_experiment
from xal.campaign.import_labels import import_labels
from xal.campaign.recipe import load
from xal.campaign.validation import checked_pools
from xal.core.config import unparse
from xal.core.progress import Reporter
from xal.data.check import check
from xal.errors import XalError
from xal.store.directory import open_ledger

STRANGE: list[Any] = [
    None, True, False, 0, -1, 1e308, float("nan"), 10**21, "", " ", "0", "null", "banana", "é\u0000", "\ud800", [], {},
    [[]], {"name": "x"}, {"name": None}, ["a", "a"], "os:system", "a.b:C", "s3://", "../..", "=1+1", "x" * 10_000,
]  # fmt: skip
HANG_S = 5


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values in a nested mapping."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in leaves(item, (*path, key)))]


def mutated(value: Any, draw: random.Random) -> Any:
    """The value with one to three parts replaced, removed or renamed."""
    value = copy.deepcopy(value)
    for _ in range(draw.randint(1, 3)):
        *parents, last = draw.choice(leaves(value)[1:])
        node = value
        for key in parents:
            node = node[key]
        action = draw.randrange(4)
        if action == 0:
            del node[last]
        elif action == 1 and isinstance(node, dict):
            node[str(draw.choice(STRANGE))[:50]] = node.pop(last)
        else:
            node[last] = draw.choice(STRANGE)
        if not isinstance(value, dict) or not value:
            break
    return value


def ends_in_words(action: Any) -> bool:
    """Whether the action worked; an XalError with a message is no failure of the test, any other error is."""
    started = time.monotonic()
    try:
        action()
        message = "worked"
    except XalError as error:
        message = str(error)
    assert message.strip() and len(message) < 20_000
    assert time.monotonic() - started < HANG_S
    return message == "worked"


NUMBERS = [150, pytest.param(2000, marks=[pytest.mark.slow, pytest.mark.timeout(1500)])]


@pytest.mark.parametrize("number", NUMBERS)
def test_recipes(tmp_path: Path, number: int) -> None:
    pool = text_pool(tmp_path / "pool.parquet", 60, 0)
    plain = unparse(text_recipe(pool, pool, arms=None, strategy="margin"))
    draw, worked = random.Random(number), 0
    for _ in range(number):
        recipe = tmp_path / "recipe.yaml"
        text = yaml.safe_dump(mutated(plain, draw), allow_unicode=True)
        if draw.random() < 0.2:
            place = draw.randrange(len(text))
            text = text[:place] + draw.choice(["\t", "&a *a", "{", "\x00", "- ", "'", "\n"]) + text[place + 1 :]
        recipe.write_text(text, encoding="utf-8", errors="surrogatepass")
        worked += ends_in_words(lambda recipe=recipe: checked_pools(load(recipe)))
    assert 0 < worked < number


@pytest.mark.parametrize("number", NUMBERS)
def test_label_files(tmp_path: Path, number: int) -> None:
    pool = text_pool(tmp_path / "pool.parquet", 200, 0)
    recipe = text_recipe(
        pool, pool, arms=None, strategy="margin", annotator="file", budget={"initial": 100, "per_round": 1, "rounds": 0}
    )
    (outcome,) = run_experiment(recipe, tmp_path / "runs", Reporter(quiet=True))
    batch = read_batch(outcome.directory, 0)
    draw, taken = random.Random(number), 0
    for index in range(number):
        rows = [{"id": row["id"], "label": draw.choice(["good", "bad", "", "skip"])} for row in draw.sample(batch, 5)]
        as_json = draw.random() < 0.5
        if as_json:
            text = "\n".join(json.dumps(row) for row in rows)
        else:
            text = "id,label\n" + "\n".join(f"{row['id']},{row['label']}" for row in rows)
        for _ in range(draw.randint(0, 3)):
            place = draw.randrange(len(text))
            text = (
                text[:place] + draw.choice(['"', ",", "\n", ";", "\x00", "é", "\u2028", "{", "="]) + text[place + 1 :]
            )
        file = tmp_path / f"labels.{'jsonl' if as_json else 'csv'}"
        file.write_bytes(text.encode(draw.choice(["utf-8", "utf-8-sig", "utf-16", "cp1252"]), "replace"))
        ledger = open_ledger(outcome.directory)
        before = ledger.answers()
        ledger.close()
        good = ends_in_words(lambda file=file, index=index: import_labels(outcome.directory, file, str(index)))
        ledger = open_ledger(outcome.directory)
        after = ledger.answers()
        ledger.close()
        assert after[: len(before)] == before or {json.dumps(row) for row in before} <= {
            json.dumps(row) for row in after
        }
        assert good or after == before
        taken += good
    assert taken


@pytest.mark.parametrize("number", [40, pytest.param(500, marks=[pytest.mark.slow, pytest.mark.timeout(1500)])])
def test_pools(tmp_path: Path, number: int) -> None:
    pool = text_pool(tmp_path / "pool.parquet", 60, 0)
    table = pq.read_table(pool)
    recipe = text_recipe(pool, pool, arms=None, strategy="margin")
    draw, worked = random.Random(number), 0
    plain = pool.read_bytes()
    for _ in range(number):
        if draw.random() < 0.5:
            broken = bytearray(plain)
            for _ in range(draw.randint(1, 20)):
                broken[draw.randrange(len(broken))] = draw.randrange(256)
            pool.write_bytes(bytes(broken[: draw.choice([len(broken), draw.randrange(len(broken))])]))
        else:
            pq.write_table(_strange_column(table, draw), pool)
        checked = ends_in_words(lambda: check(pool))
        ran = ends_in_words(lambda: checked_pools(recipe))
        worked += checked and ran
    assert worked


def _strange_column(table: pa.Table, draw: random.Random) -> pa.Table:
    """The table with a column replaced by values that a pool should not have."""
    n, position = len(table), draw.randrange(table.num_columns)
    name = table.column_names[position]
    if draw.random() < 0.2:
        return table.replace_schema_metadata(draw.choice([None, table.schema.metadata]))
    values = draw.choice(
        [
            pa.nulls(n, pa.string()),
            pa.array(["same"] * n),
            pa.array([""] * n),
            pa.array([-(2**31)] * n, pa.int32()),
            pa.array([[-5, 2**31 - 1]] * n, pa.list_(pa.int32())),
            pa.array([None, *range(n - 1)], pa.int64()),
            pa.array([float("nan")] * n),
            pa.array([b"\xff\xfe"] * n),
        ]
    )
    changed = table.set_column(position, name, values)
    metadata = {b"xal": draw.choice([b"{}", b"[]", b"{", b'{"classes": 3}', b'{"classes": ["a", "a"]}', b"\xff"])}
    return changed.replace_schema_metadata(metadata if draw.random() < 0.5 else table.schema.metadata)
