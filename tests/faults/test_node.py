"""A node lost in mid-pass, one that an engine waits for, and actors that never answer."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.test_kills import SEED
from tests.recipes import write_pool
from xal.engine import RayEngine
from xal.engine.ray import actor_pool
from xal.engine.tasks import ShardTask
from xal.errors import ResourceError


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_lost_node_costs_no_item(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool", n=1200, files=4)
    script = Path(__file__).with_name("lost_node.py")
    command = [sys.executable, str(script), str(pool), str(tmp_path), str(SEED)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=500)
    result = json.loads(done.stdout.splitlines()[-1])
    print(f"seed {SEED}: a node with a scoring actor lost {result['after']:.1f} s into the pass, the same 50 ids")
    assert result["alive"] == [3, 2]
    assert result["found"] == result["expected"] and len(result["found"]) == 50


@pytest.mark.ray
def test_an_engine_waits_for_nodes_that_it_asked_for(ray_session: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The autoscaler is a stand-in: it notes the order, and the cluster has the GPUs after the second look."""
    import ray

    orders: list[Any] = []
    have = ray.cluster_resources()

    def resources() -> dict[str, float]:
        return have | {"GPU": 3.0 if len(orders) >= 2 else 0.0}

    monkeypatch.setattr("xal.engine.ray.session.request_resources", lambda bundles: orders.append(bundles))
    monkeypatch.setattr(ray, "cluster_resources", resources)
    engine = RayEngine(actors=2, actor_cpus=0.5, actor_gpus=1, train_gpus=3, wait_s=20)
    engine.open().close()
    bundle = [{"CPU": 1.0}, {"CPU": 0.5, "GPU": 1}, {"CPU": 0.5, "GPU": 1}, {"GPU": 1.0}]
    assert orders == [bundle, bundle, []]
    orders.clear()
    monkeypatch.setattr(ray, "cluster_resources", lambda: have)
    with pytest.raises(ResourceError, match="3 GPUs are asked for, the cluster has 0"):
        RayEngine(actors=2, actor_gpus=1, train_gpus=3, wait_s=2).open()
    assert len(orders) >= 2 and orders[-1] == []


@pytest.mark.ray
def test_actors_that_never_answer_end_the_pass(ray_session: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    @ray.remote(num_cpus=0)
    class Mute:
        async def run(self, *_: Any) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(actor_pool, "SILENCE_S", 1)
    actor = Mute.remote()
    given = actor_pool.ActorPool([actor], ShardTask(needs=frozenset()))
    assert list(given.give({"id": ["a"]})) == []
    with pytest.raises(ResourceError, match="no scoring actor has answered for"):
        list(given.finish())
    ray.kill(actor)
