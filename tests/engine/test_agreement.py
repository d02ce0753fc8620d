"""The serial and the Ray engine give the same query, for any number of shards and workers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.recipes import write_pool
from xal.core.rng import HashRng
from xal.data.pool import Pool
from xal.data.sharding import shards
from xal.engine import RayEngine, Serial
from xal.engine.coordinator import Coordinator
from xal.engine.engine import Engine, Session
from xal.engine.tasks import UNREADABLE, Collect, ModelRef
from xal.errors import NumericalError, ResourceError
from xal.explainers import Ebano
from xal.models.torch.convnet import Convnet
from xal.strategies import Strategy

LABELLED = ["item-0003", "item-0090", "item-0119"]
PLANS = {
    "random": {},
    "entropy": {},
    "margin": {},
    "least_confidence": {},
    "ebano_uncertainty": {"candidates": 50, "threshold": -2.0, "limit": 9},
    "ebano_augment": {"candidates": 50, "threshold": -2.0, "limit": 9, "augment_limit": 4},
}


def model(folder: Path, version: str = "1", scale: float = 1.0) -> ModelRef:
    convnet = Convnet(filters=4, hidden=8)
    state = convnet.create((1, 12, 12), 3, seed=5).state_dict()
    save_file({name: value * scale for name, value in state.items()}, folder / f"{version}.safetensors")
    return ModelRef(
        model=convnet, weights=folder / f"{version}.safetensors", version=version, shape=(1, 12, 12), classes=3
    )


def query(engine: Engine, pool: Path, ref: ModelRef, name: str, budget: int = 20) -> list[tuple[str, float, str]]:
    with engine.open() as session:
        return ask(session, pool, ref, name, budget)


def ask(session: Session, pool: Path, ref: ModelRef, name: str, budget: int = 20) -> list[tuple[str, float, str]]:
    strategy: Strategy = Strategy.named(name)(**PLANS[name])
    coordinator = Coordinator(
        session=session,
        pool=Pool.open(pool),
        shape=(1, 12, 12),
        model=ref,
        explainer=Ebano(k_max=3, restarts=1, iterations=5),
    )
    found = coordinator.query(strategy, budget, HashRng(3).child("round", 1), labelled=LABELLED)
    items = found.items
    return list(zip(items.ids.tolist(), items.scores.tolist(), found.reasons, strict=True))


@pytest.mark.parametrize("name", PLANS)
def test_shards_change_nothing(tmp_path: Path, name: str) -> None:
    ref = model(tmp_path)
    whole = query(Serial(batch=16), write_pool(tmp_path / "one"), ref, name)
    assert whole == query(Serial(batch=16), write_pool(tmp_path / "seven", files=7), ref, name)
    assert len({item for item, _, _ in whole} - set(LABELLED)) == 20


@pytest.fixture(scope="module")
def ray_sessions(ray_session: None) -> Iterator[list[Session]]:
    """One actor, and three, alive through all tests of this module."""
    with RayEngine(batch=16, actors=1).open() as one, RayEngine(batch=16, actors=3).open() as three:
        yield [one, three]


@pytest.mark.ray
@pytest.mark.parametrize("name", PLANS)
def test_ray_agrees_with_serial(tmp_path: Path, ray_sessions: list[Session], name: str) -> None:
    ref = model(tmp_path, version=f"agree-{name}")
    expected = query(Serial(batch=16), write_pool(tmp_path / "one"), ref, name)
    for files, session in zip((3, 5), ray_sessions, strict=True):
        assert expected == ask(session, write_pool(tmp_path / str(files), files=files), ref, name)


@pytest.mark.ray
def test_ids_alone_are_scored_alike_here_and_by_actors(
    tmp_path: Path, ray_sessions: list[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    ref, pool = model(tmp_path), write_pool(tmp_path / "pool", files=3)
    here = ask(ray_sessions[1], pool, ref, "random")
    monkeypatch.setattr("xal.engine.ray.session.IDS_HERE", 0)
    assert ask(ray_sessions[1], pool, ref, "random") == here


def test_another_batch_size_moves_few_ids(tmp_path: Path) -> None:
    """Rounding depends on the batch; this counts the ids that it moves (0 of 40 where this was written)."""
    ref, pool = model(tmp_path), write_pool(tmp_path / "pool", n=400)
    queries = [{item for item, _, _ in query(Serial(batch=b), pool, ref, "margin", 40)} for b in (400, 64, 7, 1)]
    moved = [len(queries[0] - other) for other in queries[1:]]
    print(f"ids moved by rounding, batch 64, 7, 1 against 400: {moved} of 40")
    assert max(moved) <= 2


def test_units_cover_everything_once_and_cut_alike() -> None:
    for length, batch, batches in [(1, 4, 2), (100, 7, 3), (64, 8, 8), (65, 8, 8)]:
        cut = shards(length, None, batch, batches)
        assert np.concatenate([shard.positions() for shard in cut]).tolist() == list(range(length))
        assert all(shard.start % batch == 0 for shard in cut)
        rows = np.arange(length) * 3
        assert np.concatenate([shard.positions() for shard in shards(length, rows, batch, batches)]).tolist() == list(
            rows
        )


def test_the_last_units_are_small_so_that_lanes_end_together() -> None:
    for rows in (None, np.arange(10_000) * 3):
        cut = shards(100_000 if rows is None else 10_000, rows, 256, 4, slots=2)
        sizes = [shard.stop - shard.start for shard in cut]
        assert sizes[0] == 4 * 256 and all(size == 256 for size in sizes[-4:-1]) and 0 < sizes[-1] <= 256
        assert sizes == sorted(sizes, reverse=True) and all(shard.start % 256 == 0 for shard in cut)
        wanted = np.arange(100_000) if rows is None else rows
        assert np.array_equal(np.concatenate([shard.positions() for shard in cut]), wanted)
    assert [shard.stop - shard.start for shard in shards(3, None, 4, 4, slots=8)] == [3]
    assert shards(0, None, 4, 4, slots=2) == []


@pytest.mark.parametrize(("side", "most"), [(12, 4), (1024, 1)])
def test_units_of_explained_items_are_short_and_keep_to_the_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int, most: int
) -> None:
    session, plans = Serial(batch=16).open(), []
    monkeypatch.setattr(session, "execute", lambda reader, task, plan: iter(plans.append(plan) or ()))
    pool = Pool.open(write_pool(tmp_path / "pool", n=320))
    list(session.run(pool, Collect(needs=frozenset({"explanations"})), shape=(3, side, side)))
    ((first, *_),) = plans
    assert first.stop - first.start == most * 16


def test_nan_probabilities_are_refused_with_the_item(tmp_path: Path) -> None:
    ref = model(tmp_path, "nan", float("nan"))
    with pytest.raises(NumericalError, match=r"not finite for 15 of 15 items, first for id 'item-0000'"):
        query(Serial(batch=16), write_pool(tmp_path / "pool"), ref, "entropy")


@pytest.mark.ray
def test_nan_probabilities_are_refused_on_ray_without_a_traceback(tmp_path: Path, ray_sessions: list[Session]) -> None:
    ref = model(tmp_path, "nan", float("nan"))
    with pytest.raises(NumericalError, match="not finite for") as caught:
        ask(ray_sessions[1], write_pool(tmp_path / "pool"), ref, "entropy")
    assert "Traceback" not in str(caught.value)


def test_corrupt_images_are_counted_and_never_queried(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool", n=60)
    table = Pool.open(pool).read_span(0, 60, ["image"])
    images = table["image"].to_pylist()
    for row in (5, 17, 44):
        images[row] = b"no image"
    broken = write_pool(tmp_path / "broken", n=60, image=images)
    ref = model(tmp_path)
    with Serial(batch=16).open() as session:
        coordinator = Coordinator(session=session, pool=Pool.open(broken), shape=(1, 12, 12), model=ref)
        found = coordinator.query(Strategy.named("entropy")(), 60, HashRng(0))
    assert coordinator.unreadable == dict.fromkeys(("item-0005", "item-0017", "item-0044"), UNREADABLE)
    assert len(found) == 57 and not coordinator.unreadable.keys() & set(found.items.ids.tolist())


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_an_absent_gpu_is_refused_serially() -> None:
    with pytest.raises(ResourceError, match=r"engine\.device is 'cuda' but this process sees no GPU"):
        Serial(device="cuda").open()


@pytest.mark.ray
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"actor_gpus": 1}, "2 GPUs are asked for, the cluster has 0"),
        ({"train_gpus": 1}, "1 GPUs are asked for"),
        ({"actors": 8, "actor_cpus": 0.5}, "need 5 CPUs, the cluster has 4"),
        ({"train_workers": 4, "train_cpus": 1}, "4 training workers of 1 CPUs"),
    ],
)
def test_what_the_cluster_cannot_hold_is_refused(ray_session: None, settings: dict[str, float], message: str) -> None:
    with pytest.raises(ResourceError, match=message):
        RayEngine(**settings).open()  # type: ignore[arg-type]


def test_prepare_sees_the_labelled_items_and_a_sample(tmp_path: Path) -> None:
    """A strategy with all four functions: the score is the distance to the labelled items' mean probabilities."""
    from tests.engine.centroid import FarFromLabelled

    ref, path = model(tmp_path), write_pool(tmp_path / "pool")
    pool = Pool.open(path)
    with Serial(batch=16).open() as session:
        coordinator = Coordinator(session=session, pool=pool, shape=(1, 12, 12), model=ref)
        rows = np.array([3, 90, 119])
        labels = dict.fromkeys(LABELLED, 0)
        found = coordinator.query(
            FarFromLabelled(), 10, HashRng(0), labelled=LABELLED, labelled_rows=rows, labels=labels
        )
        everything = coordinator.collect(np.arange(120), frozenset({"probabilities"}), "all")
        labelled = coordinator.collect(rows, frozenset({"probabilities"}), "labelled")
    assert everything is not None and labelled is not None
    assert everything.probabilities is not None and labelled.probabilities is not None
    distance = np.linalg.norm(everything.probabilities - labelled.probabilities.mean(axis=0), axis=1)
    distance[rows] = -1
    assert found.items.ids.tolist() == [f"item-{row:04d}" for row in np.argsort(-distance, kind="stable")[:10]]
