"""`xal run` that is stopped, or whose Ray is killed: one sentence, its exit status, and nothing left on the machine."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from tests.recipes import text_pool
from xal.core.interrupts import Terminated, interrupt_behind, keeping_handlers, terminate_like_ctrl_c, uninterrupted


def begun(tmp_path: Path, engine: object) -> "subprocess.Popen[bytes]":
    """A campaign of many rounds."""
    recipe = {
        "pool": {"source": str(text_pool(tmp_path / "pool.parquet", 2000, 0))},
        "model": {"name": "linear_svm", "encoder": "tfidf", "C": [1.0]},
        "strategy": "margin",
        "budget": {"initial": 20, "per_round": 2, "rounds": 500},
        "engine": engine,
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    command = [sys.executable, "-m", "xal.cli", "run", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "runs")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path)


def told_until_round_1(process: "subprocess.Popen[bytes]") -> str:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.decode())
        if "round 1/" in lines[-1]:
            break
    return "".join(lines)


ON_RAY = {"name": "ray", "cpus": 2, "object_store_mb": 100}


@pytest.mark.parametrize(
    ("engine", "number"),
    [
        ("serial", signal.SIGINT),
        ("serial", signal.SIGTERM),
        pytest.param(ON_RAY, signal.SIGINT, marks=[pytest.mark.ray, pytest.mark.slow]),
        pytest.param(ON_RAY, signal.SIGTERM, marks=pytest.mark.ray),
    ],
)
def test_a_stopped_run_says_so(tmp_path: Path, engine: object, number: signal.Signals) -> None:
    process = begun(tmp_path, engine)
    told = told_until_round_1(process)
    family = psutil.Process(process.pid).children(recursive=True)
    for _ in range(3):  # impatient
        process.send_signal(number)
        number = signal.SIGINT
    assert process.stdout is not None
    told += process.stdout.read().decode()
    assert process.wait(60) in (130, 143), told
    assert told.rstrip().endswith("command to continue") and "Traceback" not in told and "***" not in told
    psutil.wait_procs(family, timeout=20)
    assert not [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    assert not list(Path("/tmp").glob(f"xal-{process.pid}-*"))


@pytest.mark.ray
@pytest.mark.parametrize("name", ["raylet", pytest.param("gcs_server", marks=pytest.mark.slow)])
def test_ray_that_is_killed_ends_the_run_with_a_reason(tmp_path: Path, name: str) -> None:
    process = begun(tmp_path, ON_RAY)
    told_until_round_1(process)
    for child in psutil.Process(process.pid).children(recursive=True):
        if child.name() == name:
            child.kill()
    assert process.stdout is not None
    told = process.stdout.read().decode()
    assert process.wait(30) == 2, told
    assert re.search(rf"error: Ray's process {name} was killed .* repeat the command", told)
    assert not list(Path("/tmp").glob(f"xal-{process.pid}-*"))


def test_handlers() -> None:
    with keeping_handlers():
        terminate_like_ctrl_c()
        with uninterrupted():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(Terminated):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_inside_a_librarys_lock_is_still_an_interrupt() -> None:
    """threading's Condition answered "release unlocked lock" when SIGTERM came while a thread was starting."""
    with keeping_handlers():
        terminate_like_ctrl_c()
        with pytest.raises(RuntimeError) as caught:
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                raise RuntimeError("release unlocked lock")
    assert isinstance(interrupt_behind(caught.value), Terminated)
    assert interrupt_behind(ValueError("no interrupt")) is None
