"""Shards of explained items are short and keep to their bytes; an absent GPU is refused."""

from pathlib import Path

import pytest
import torch

from tests.recipes import write_pool
from xal.data.pool import Pool
from xal.engine import SerialEngine
from xal.engine.tasks import Collect
from xal.errors import ResourceError


@pytest.mark.parametrize(("side", "most"), [(12, 4), (1024, 1)])
def test_shards_of_explained_items_are_short_and_keep_to_the_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int, most: int
) -> None:
    session, plans = SerialEngine(batch=16).open(), []
    monkeypatch.setattr(session, "execute", lambda reader, task, plan: iter(plans.append(plan) or ()))
    pool = Pool.open(write_pool(tmp_path / "pool", n=320))
    list(session.run(pool, Collect(needs=frozenset({"explanations"})), shape=(3, side, side)))
    ((first, *_),) = plans
    assert first.stop - first.start == most * 16


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_an_absent_gpu_is_refused_serially() -> None:
    with pytest.raises(ResourceError, match=r"engine\.device is 'cuda' but this process sees no GPU"):
        SerialEngine(device="cuda").open()
