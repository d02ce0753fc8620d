"""Items that a scorer cannot take: halved down to them, set aside with the reason, the others scored as ever."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.engine.asking import model_ref
from tests.faults.faulty import Deadly, DiskFull, Greedy, Raising, Sound
from tests.recipes import small, write_pool
from xal.campaign.experiment import run_experiment
from xal.core.progress import Reporter
from xal.core.rng import HashRng
from xal.data.pool import Pool
from xal.engine import RayEngine, SerialEngine
from xal.engine.coordinator import Coordinator
from xal.engine.engine import Session
from xal.engine.tasks import Score
from xal.errors import DataError, ResourceError, RunError
from xal.report.html import write_report
from xal.store.run import read_run
from xal.strategies import Strategy

BAD = ("item-0007", "item-0050", "item-0051")


@pytest.fixture(scope="module")
def on_ray(ray_session: None) -> Iterator[Session]:
    with RayEngine(batch=16, actors=2).open() as session:
        yield session


@pytest.fixture(params=["serial", pytest.param("ray", marks=pytest.mark.ray)])
def session(request: pytest.FixtureRequest) -> Session:
    return SerialEngine(batch=16).open() if request.param == "serial" else request.getfixturevalue("on_ray")


def ask(session: Session, pool: Path, folder: Path, strategy: Strategy) -> tuple[list[str], dict[str, str]]:
    """(ids of all items, best first; why others were left out)."""
    coordinator = Coordinator(
        session=session, pool=Pool.open(pool), shape=(1, 12, 12), model=model_ref(folder, folder.name)
    )
    found = coordinator.query(strategy, 120, HashRng(0))
    return found.items.ids.tolist(), coordinator.unreadable


def test_a_scorer_that_raises_on_some_items(tmp_path: Path, session: Session) -> None:
    pool = write_pool(tmp_path / "pool", files=3)
    everything, _ = ask(session, pool, tmp_path, Sound())
    found, reason = ask(session, pool, tmp_path, Raising(items=BAD))
    assert found == [item for item in everything if item not in BAD]
    assert reason == {item: f"ValueError: cannot score {item}" for item in BAD}


def test_a_batch_too_large_for_memory_is_halved(tmp_path: Path, session: Session) -> None:
    pool = write_pool(tmp_path / "pool", files=3)
    everything, _ = ask(session, pool, tmp_path, Sound())
    assert ask(session, pool, tmp_path, Greedy(capacity=5)) == (everything, {})
    assert len(everything) == 120


def test_a_scorer_that_fails_on_everything_ends_the_run(tmp_path: Path, session: Session) -> None:
    pool = write_pool(tmp_path / "pool")
    with pytest.raises(RunError, match=r"all 16 items of a batch fail, .*'item-0\d+': MemoryError: 1 items") as caught:
        ask(session, pool, tmp_path, Greedy(capacity=0))
    assert "Traceback" not in str(caught.value)


def test_a_disk_that_fails_is_no_fault_of_the_items(tmp_path: Path, session: Session) -> None:
    with pytest.raises(ResourceError, match=r"^scoring stopped: /cache/x: no space is left; free some space"):
        ask(session, write_pool(tmp_path / "pool"), tmp_path, DiskFull())


def test_too_many_that_fail_end_the_run(tmp_path: Path, session: Session) -> None:
    pool = write_pool(tmp_path / "pool")
    every = tuple(f"item-{number:04d}" for number in range(0, 120, 3))
    monkey = session.engine
    session.engine = replace(monkey, max_failures=39)
    try:
        with pytest.raises(RunError, match=r"more than 39 items fail \(engine.max_failures\), first 'item-0\d+'"):
            ask(session, pool, tmp_path, Raising(items=every))
        session.engine = replace(monkey, max_failures=40)
        assert len(ask(session, pool, tmp_path, Raising(items=every))[1]) == 40
    finally:
        session.engine = monkey


def test_weights_that_cannot_be_read_are_no_fault_of_the_items(tmp_path: Path) -> None:
    pool, ref = write_pool(tmp_path / "pool"), model_ref(tmp_path, "gone")
    ref.weights.unlink()
    coordinator = Coordinator(session=SerialEngine(batch=16).open(), pool=Pool.open(pool), shape=(1, 12, 12), model=ref)
    with pytest.raises(RunError, match=r"gone\.safetensors is missing"):
        coordinator.query(Sound(), 10, HashRng(0))
    assert not coordinator.unreadable


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_an_item_that_no_actor_survives(tmp_path: Path, on_ray: Session) -> None:
    pool = write_pool(tmp_path / "pool", files=3)
    everything, _ = ask(on_ray, pool, tmp_path, Sound())
    found, reason = ask(on_ray, pool, tmp_path, Deadly(items=BAD[:1]))
    assert found == [item for item in everything if item != BAD[0]]
    assert reason.keys() == {BAD[0]} and reason[BAD[0]].startswith("3 scoring actors died on it")


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_an_item_that_no_actor_survives_among_picked_ones(tmp_path: Path, on_ray: Session) -> None:
    """Picked items are read by the actors, and here for whoever is to blame."""
    pool, strategy = Pool.open(write_pool(tmp_path / "pool", files=3)), Deadly(items=BAD[:1])
    ref = model_ref(tmp_path, tmp_path.name)
    work = Score(needs=strategy.needs, model=ref, strategy=strategy, rng=HashRng(0), keep=120)
    rows = np.arange(1, 120, 2)
    partials = list(on_ray.run(pool, work, shape=(1, 12, 12), rows=rows))
    picked = set(pool.read(rows, ["id"])["id"].to_pylist())
    ((item, reason),) = [each for partial in partials for each in partial.unreadable]
    assert item == BAD[0] and reason.startswith("3 scoring actors died on it")
    found = [item for partial in partials for item in partial.value.ids]
    assert len(found) == len(rows) - 1 and set(found) == picked - {BAD[0]}


def test_a_campaign_goes_on_without_them_and_says_so(tmp_path: Path) -> None:
    recipe = small(
        write_pool(tmp_path / "pool"),
        strategy=None,
        arms={"bad": {"name": "tests.faults.faulty:Raising", "items": list(BAD)}},
    )
    run_experiment(recipe, tmp_path / "runs", Reporter(quiet=True))
    (directory,) = (tmp_path / "runs").iterdir()
    run = read_run(directory)
    drawn = {item.id for item in run.queried if item.round == 0}
    assert run.state == "finished" and run.unreadable == {
        item: f"ValueError: cannot score {item}" for item in BAD if item not in drawn
    }
    page = write_report([directory], tmp_path / "report.html").read_text()
    assert "ValueError: cannot score item-0050" in page


def test_a_pool_file_truncated_under_us(tmp_path: Path, session: Session) -> None:
    path = write_pool(tmp_path / "pool", files=3)
    pool = Pool.open(path)
    file = path / "part-001.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    coordinator = Coordinator(session=session, pool=pool, shape=(1, 12, 12), model=model_ref(tmp_path, tmp_path.name))
    with pytest.raises(DataError, match=r"part-001.parquet has changed: it had [\d,]+ bytes, now") as caught:
        coordinator.query(Sound(), 10, HashRng(0))
    assert "Traceback" not in str(caught.value)
