"""`xal tune`: a search whose trials fail or stop early, started again; and replaying labels."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.recipes import QUIET
from tests.tuning.searches import searched, without_search
from xal.annotators.file import File
from xal.campaign.experiment import run_experiment
from xal.core.config import unparse
from xal.store.run import read_run
from xal.tuning.search import run_search

ROOT = Path(__file__).parents[2]


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_search_on_two_cores(tmp_path: Path) -> None:
    """With a Ray of its own: trials fail or are stopped early, the search goes on; again, and nothing is computed."""
    space = {
        "explainer.max_evals": {"low": 12, "high": 200, "log": True},
        "strategy.sample": {"choices": [4, 20]},
    }
    given = searched(tmp_path, space=space, trials=12, initial=4, per_round=4)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(unparse(given)), encoding="utf-8")
    said = tuned(tmp_path)
    told = json.loads((tmp_path / "tune" / "search.json").read_text())
    trials, best = told["trials"], told["best"]
    failed = [trial for trial in trials if trial["reason"]]
    whole = [trial for trial in trials if trial["value"] is not None and trial["round"] == 2]
    early = [trial for trial in trials if trial["value"] is not None and trial["round"] == 1]
    assert len(trials) == 12 and failed and early and whole
    assert all((trial["settings"]["explainer.max_evals"] < 20) == (trial["value"] is None) for trial in trials)
    assert all("too few evaluations for me" in trial["reason"] for trial in failed)
    assert max(trial["value"] for trial in whole) == next(t["value"] for t in whole if t["settings"] == best)
    assert all(early_one["value"] <= max(trial["value"] for trial in whole) for early_one in early)
    assert all(len(values) == 2 for values in told["held_out"].values())
    page = (tmp_path / "tune" / "report.html").read_text()
    assert f"12 trials, {len(failed)} failed, {len(early)} stopped early" in page and "data:image/png" in page
    table = [line.split("  ")[0].split(" ", 1)[1] for line in said if " of 12" in line]
    assert table == [f"{done} of 12" for done in range(1, 13)]
    assert sum("stopped early" in line for line in said) == len(early)
    assert sum("failed" in line for line in said) == len(failed)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "tune").rglob("model.safetensors")}
    again = tuned(tmp_path)
    assert any("resuming the search" in line for line in again)
    same = json.loads((tmp_path / "tune" / "search.json").read_text())
    for each in (told, same):
        each["trials"].sort(key=json.dumps)  # a restored search has them in another order
    assert same == told
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "tune").rglob("model.safetensors")}


def tuned(path: Path) -> list[str]:
    """What `xal tune` says."""
    command = [sys.executable, "-m", "xal.cli", "tune", str(path / "recipe.yaml"), "--out", str(path / "tune")]
    done = subprocess.run([*command, "--seeds", "0-1"], capture_output=True, text=True, timeout=500, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return (done.stdout + done.stderr).splitlines()


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_replay_of_a_run_annotated_by_file_is_measured_on_the_test_pool(tmp_path: Path, ray_session: object) -> None:
    given = searched(tmp_path, mode="replay", trials=2, seeds=[0])
    run_experiment(without_search(given), tmp_path / "runs", QUIET)
    source = tmp_path / "runs" / "explanation_disagreement-seed0"
    by_file = replace(given, annotator=File())
    page, _ = run_search(by_file, tmp_path / "tune", source, (0, 1), QUIET)
    told = json.loads((tmp_path / "tune" / "search.json").read_text())
    assert len(told["held_out"]["default"]) == 2 and "On held-out data, 2 paired seeds" in page.read_text()
    labelled = {item.id for item in read_run(source).queried}
    asked = read_run(tmp_path / "tune" / "held-out" / "best-seed0")
    assert {item.id for item in asked.queried} <= labelled
    assert asked.of("evaluate")[1].metrics["test_items"] == 60
