"""Files of a run: whole under their final name or not there at all."""

import os
import signal
import subprocess
import sys

import pytest

from xal.errors import RunError
from xal.store.atomic import locked, sweep, writing

LOCKING = """
import pathlib, sys
from xal.errors import RunError
from xal.store.atomic import locked
try:
    with locked(pathlib.Path(sys.argv[1])):
        print("locked", flush=True)
        sys.stdin.read()
except RunError as error:
    print("refused:", error)
"""


def everything(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_the_folder_appears_when_the_block_ends(tmp_path):
    with writing(tmp_path, "round-003/train") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("weights")
        assert not (tmp_path / "round-003").exists()
    assert everything(tmp_path) == ["round-003", "round-003/train", "round-003/train/deep", "round-003/train/deep/file"]
    assert (tmp_path / "round-003/train/deep/file").read_text() == "weights"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_nothing(tmp_path, error):
    with pytest.raises(error), writing(tmp_path, "round-003/train") as folder:
        (folder / "file").write_text("half")
        raise error
    assert everything(tmp_path) == []


def test_an_error_leaves_what_was_there(tmp_path):
    with writing(tmp_path, "train") as folder:
        (folder / "file").write_text("whole")
    with pytest.raises(ValueError), writing(tmp_path, "train") as folder:  # noqa: PT011 - any error
        (folder / "file").write_text("half")
        raise ValueError
    assert everything(tmp_path) == ["train", "train/file"]
    assert (tmp_path / "train/file").read_text() == "whole"


def test_an_uncommitted_earlier_try_is_replaced_whole(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "stale").write_text("old")
    with writing(tmp_path, "train") as folder:
        (folder / "fresh").write_text("new")
    assert everything(tmp_path) == ["train", "train/fresh"]


def test_files_and_their_names_are_synced_before_the_folder_appears(tmp_path, monkeypatch):
    """A power cut after the block may lose nothing: files, their folder, and every folder that got a new name in it."""
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    with writing(tmp_path, "round-003/train") as folder:
        (folder / "file").write_text("weights")
    aside = str(folder)
    assert {f"{aside}/file", aside} <= set(synced)
    assert str(tmp_path / "round-003") in synced  # holds the name `train`
    assert str(tmp_path) in synced  # holds the name `round-003`


def test_sweep_removes_what_a_kill_left(tmp_path):
    program = (
        "import os, pathlib, signal, sys\n"
        "from xal.store.atomic import writing\n"
        "with writing(pathlib.Path(sys.argv[1]), 'round-000/query') as folder:\n"
        "    (folder / 'file').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert (left / "file").read_text() == "half"
    (tmp_path / "round-001").mkdir()
    (tmp_path / "ledger.sqlite").write_text("")
    (tmp_path / ".aside-ledger-journal").write_bytes(b"half a copy of a ledger")
    sweep(tmp_path)
    assert everything(tmp_path) == ["ledger.sqlite", "round-001"]


def another(directory):
    return subprocess.Popen(
        [sys.executable, "-c", LOCKING, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_second_process_is_refused_until_the_first_ends(tmp_path):
    run = tmp_path / "run"
    with locked(run):
        refused, _ = another(run).communicate(timeout=60)
    assert refused.startswith(f"refused: {run} is in use")
    with another(run) as holder:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(RunError, match="in use"), locked(run):
            pass
        holder.kill()  # the kernel frees the lock with the process
        holder.wait(60)
        with locked(run):
            pass
