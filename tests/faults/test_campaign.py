"""What happens to a campaign: full disks, two runs at once, clocks that jump, on both ledgers."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.faults.test_kills import same
from tests.recipes import QUIET, RUN, outcome, small, write_pool
from xal.campaign.experiment import run_experiment
from xal.errors import ResourceError, RunError
from xal.store.ledger import Ledger
from xal.store.run import read_run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    """A real one: the run stops with advice, and goes on once there is room."""
    recipe = small(write_pool(tmp_path / "pool"))
    run_experiment(recipe, tmp_path / "whole", QUIET)
    with pytest.raises(ResourceError, match=r"no space is left.*run again"):
        run_experiment(recipe, small_disk, QUIET)
    assert not list(small_disk.rglob(".aside-*"))
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    run_experiment(recipe, small_disk, QUIET)
    same(small_disk / RUN, tmp_path / "whole" / RUN)


@pytest.mark.parametrize("full", range(1, 17, 3))
def test_a_disk_that_is_full_at_any_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str, full: int
) -> None:
    recipe = small(write_pool(tmp_path / "pool"), budget={"rounds": 1})
    run_experiment(recipe, tmp_path / "whole", QUIET)
    plain, syncs = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1
        if syncs == full:
            raise OSError(errno.ENOSPC, "No space left on device")
        plain(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(ResourceError, match="no space is left"):
        run_experiment(recipe, tmp_path / "full", QUIET)
    run_experiment(recipe, tmp_path / "full", QUIET)
    same(tmp_path / "full" / RUN, tmp_path / "whole" / RUN)


def test_a_full_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's own error, at a commit: the ledger may not grow by a page."""
    recipe = small(write_pool(tmp_path / "pool"))
    run_experiment(recipe, tmp_path / "whole", QUIET)
    commit = Ledger.commit

    def full(self: Ledger, round: int, step: str, **decided: object) -> None:
        if (round, step) == (1, "query"):
            # every new connection is told to stay as small as the file is
            pages = []
            with self._engine.connect() as connection:
                pages.append(connection.exec_driver_sql("PRAGMA page_count").scalar())
            sa.event.listen(
                self._engine, "begin", lambda c: c.exec_driver_sql(f"PRAGMA max_page_count={pages[0]}"), insert=True
            )
            decided["metrics"] = {"padding": "x" * 100_000}
        commit(self, round, step, **decided)  # type: ignore[arg-type]

    monkeypatch.setattr(Ledger, "commit", full)
    with pytest.raises(ResourceError, match=r"no space is left for the ledger sqlite:.*nothing was written"):
        run_experiment(recipe, tmp_path / "full", QUIET)
    assert len(read_run(tmp_path / "full" / RUN).steps) == 4
    monkeypatch.undo()
    run_experiment(recipe, tmp_path / "full", QUIET)
    same(tmp_path / "full" / RUN, tmp_path / "whole" / RUN)


HOLD = """
import sys
from pathlib import Path
from xal.store.directory import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_is_refused_until_the_first_is_gone(tmp_path: Path, database: str) -> None:
    recipe = small(write_pool(tmp_path / "pool"), budget={"rounds": 0})
    directory = tmp_path / "runs" / RUN
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None and first.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="in use by another xal"):
            run_experiment(recipe, tmp_path / "runs", QUIET)
        first.send_signal(signal.SIGKILL)
    for attempt in range(50):  # PostgreSQL takes a moment to see that its client is dead
        try:
            assert run_experiment(recipe, tmp_path / "runs", QUIET)[0].finished
            break
        except RunError:
            time.sleep(0.1)
            assert attempt < 49


def test_a_clock_that_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> None:
    """Each look at the clock goes an hour back: the order of steps, the state and the outcome are as ever."""
    recipe = small(write_pool(tmp_path / "pool"))
    run_experiment(recipe, tmp_path / "whole", QUIET)
    now = [2e9]

    def jumping() -> float:
        now[0] -= 3600
        return now[0]

    with monkeypatch.context() as patch:
        patch.setattr(time, "time", jumping)
        run_experiment(recipe, tmp_path / "jumped", QUIET)
    jumped, whole = read_run(tmp_path / "jumped" / RUN), read_run(tmp_path / "whole" / RUN)
    assert [(step.round, step.step) for step in jumped.steps] == [(step.round, step.step) for step in whole.steps]
    assert jumped.steps[0].finished > jumped.steps[-1].finished
    assert outcome(jumped) == outcome(whole) and jumped.state == "finished"
