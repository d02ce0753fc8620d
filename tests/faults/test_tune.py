"""`xal tune`, stopped, or killed by SIGKILL with all it started: the same command goes on from what was computed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from tests.recipes import text_pool

TRIALS = 5


def begun(path: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "xal.cli", "tune", str(path / "recipe.yaml"), "--out", str(path / "tune")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def write_recipe(tmp_path: Path) -> None:
    recipe = {
        "pool": {"source": str(text_pool(tmp_path / "pool.parquet", 300, 0))},
        "model": {"name": "linear_svm", "encoder": "tfidf", "C": [1.0]},
        "explainer": "shap_partition",
        "strategy": "explanation_disagreement",
        "budget": {"initial": 20, "per_round": 10, "rounds": 2},
        "engine": {"name": "ray", "cpus": 2, "object_store_mb": 100},
        "search": {
            "space": {"explainer.max_evals": {"low": 2, "high": 200}},
            "trials": TRIALS,
            "rounds": 2,
            "seeds": [0],
            "stop_early": False,
        },
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))


def kill(process: subprocess.Popen[bytes]) -> None:
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for each in family:
        try:
            os.kill(each.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def models(path: Path) -> dict[Path, int]:
    """Of committed rounds, and when they were written."""
    return {file: file.stat().st_mtime_ns for file in (path / "tune" / "trials").glob("*/seed0/round-*/**/model*")}


@pytest.mark.ray
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_search_says_so_and_names_no_best(tmp_path: Path, number: signal.Signals) -> None:
    write_recipe(tmp_path)
    process = begun(tmp_path)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.decode())
        if f"1 of {TRIALS}" in lines[-1]:
            break
    process.send_signal(number)
    told = "".join(lines) + process.stdout.read().decode()
    assert process.wait(60) == 130, told
    assert "command to continue" in told and "best:" not in told and "***" not in told
    assert not (tmp_path / "tune" / "report.html").exists()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_killed_search_goes_on(tmp_path: Path) -> None:
    write_recipe(tmp_path)
    computed: dict[Path, int] = {}
    for wanted in (1, 5):  # models of round 0 to 2 of each trial: the first is begun, the second too
        process = begun(tmp_path)
        until = time.monotonic() + 200
        while len(models(tmp_path)) < wanted and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        assert process.poll() is None, process.stdout.read().decode() if process.stdout else ""
        kill(process)
        now = models(tmp_path)
        assert computed.items() <= now.items()
        computed = now
    assert 5 <= len(computed) < 3 * TRIALS
    process = begun(tmp_path)
    told, _ = process.communicate(timeout=300)
    assert process.returncode == 0, told.decode()
    assert computed.items() <= models(tmp_path).items()  # nothing was computed anew
    trials = json.loads((tmp_path / "tune" / "search.json").read_text())["trials"]
    assert len(trials) == TRIALS and all(trial["round"] == 2 and trial["reason"] is None for trial in trials)
    folders = [json.loads(file.read_text()) for file in (tmp_path / "tune" / "trials").glob("*/settings.json")]
    assert all(trial["settings"] in folders for trial in trials)
    print(f"{len(folders)} settings begun, {len(trials)} trials")
