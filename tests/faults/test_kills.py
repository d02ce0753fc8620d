"""SIGKILL at random moments, of the driver, of scoring actors, of training workers: as if nothing had happened.

Each test prints its seed and what it did; XAL_FAULT_SEED=N repeats one.
"""

import json
import os
import random
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.campaign.test_resume import RUN, outcome
from tests.recipes import write_pool
from xal.report.runs import Run, read_run

SEED = int(os.environ.get("XAL_FAULT_SEED", 20261125))
SCRIPT = Path(__file__).with_name("killed.py")
RAY = {"engine": {"name": "ray", "batch": 16, "cpus": 2, "object_store_mb": 100}}
MARK = "XAL_FAULT_MARK"


def start(mark: str, **settings: Any) -> dict[str, Any] | None:
    """What a run in a process of its own printed; None where it was killed."""
    command = [sys.executable, str(SCRIPT), json.dumps(settings)]
    environment = {**os.environ, MARK: mark}
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, env=environment, timeout=900)
    if done.returncode == -9:
        return None
    assert done.returncode == 0
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def strays(mark: str, patience: float = 30) -> list[str]:
    """Processes that a killed run has left behind, once they had time to go."""
    until = time.monotonic() + patience
    while True:
        left = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                    left.append(" ".join(process.cmdline())[:80])
            except psutil.Error:
                continue
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.2)


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def same(killed: Path, whole: Path) -> None:
    """The same queries, scores, labels, accuracies and files, and no item twice."""
    one, other = read_run(killed), read_run(whole)
    assert one.state == "finished" and outcome(one) == outcome(other)
    ids = [item.id for item in one.queried]
    assert len(set(ids)) == len(ids) == labels(one)
    assert files(killed) == files(whole)
    for weights in killed.glob("round-*/train/model.safetensors"):
        assert weights.read_bytes() == (whole / weights.relative_to(killed)).read_bytes()


def labels(run: Run) -> int:
    return sum(item.label is not None for item in run.queried)


def kill_drivers(folder: Path, kills: int, **settings: Any) -> None:
    mark, draw = uuid.uuid4().hex, random.Random(SEED)
    pool = str(write_pool(folder / "pool"))
    whole = start(mark, pool=pool, run=str(folder / "whole"), **settings)
    assert whole is not None
    killed, campaigns, steps = 0, 0, set()
    while killed < kills:
        run = folder / f"killed-{campaigns}"
        after = draw.uniform(0, whole["seconds"])
        ended = start(mark, pool=pool, run=str(run), after=after, **settings)
        assert not strays(mark)
        if ended is None:
            killed += 1
            steps.add(_reached(run / RUN))
        if ended is not None or killed == kills:
            if ended is None:
                assert start(mark, pool=pool, run=str(run), **settings) is not None
            same(run / RUN, folder / "whole" / RUN)
            campaigns += 1
    assert not strays(mark)
    print(
        f"seed {SEED}: {killed} SIGKILLs in {campaigns} campaigns of {whole['seconds']:.1f} s, after "
        f"{len(steps)} different numbers of committed steps; all as undisturbed"
    )
    assert len(steps) >= min(kills, 12) // 4


def _reached(directory: Path) -> int:
    try:
        return len(read_run(directory).steps)
    except Exception:  # killed before it had begun
        return 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_sigkill_of_the_driver_100_times_on_serial(tmp_path: Path) -> None:
    kill_drivers(tmp_path, 100)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_sigkill_of_the_driver_with_a_ledger_in_postgresql(
    tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XAL_LEDGER", postgres)
    kill_drivers(tmp_path, 25)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(3600)
def test_sigkill_of_the_driver_20_times_on_ray(tmp_path: Path) -> None:
    kill_drivers(tmp_path, 20, sections=RAY)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(1800)
def test_sigkill_of_scoring_actors(tmp_path: Path) -> None:
    haunted(tmp_path, "ray::_Actor", 12, {**RAY, "budget": {"initial": 12, "per_round": 4, "rounds": 24}})


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(1800)
def test_sigkill_of_training_workers(tmp_path: Path) -> None:
    engine = {**RAY["engine"], "actors": 1, "train_workers": 1, "train_cpus": 0.5}
    train = {"epochs": 3000, "batch_size": 8, "validation": 0.25, "threads": 1}
    haunted(tmp_path, "ray::RayTrainWorker", 3, {"engine": engine, "train": train, "budget": {"rounds": 1}})


def haunted(folder: Path, of: str, kills: int, sections: dict[str, Any]) -> None:
    mark, pool = uuid.uuid4().hex, str(write_pool(folder / "pool"))
    assert start(mark, pool=pool, run=str(folder / "whole"), sections=sections) is not None
    ended = start(mark, pool=pool, run=str(folder / "killed"), sections=sections, of=of, kills=kills, seed=SEED)
    assert ended is not None and not strays(mark)
    print(f"seed {SEED}: {ended['killed']} SIGKILLs of {of} in {ended['seconds']:.0f} s; all as undisturbed")
    same(folder / "killed" / RUN, folder / "whole" / RUN)
    assert ended["killed"] >= kills // 2
