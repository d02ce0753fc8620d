"""The page on many studies: what it says is what runs measured, and what was measured stays when the runs are gone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.recipes import small, write_pool
from xal.campaign.experiment import run_experiment
from xal.campaign.explained_images import explain_labelled
from xal.core.progress import Reporter
from xal.errors import ConfigError, RunError
from xal.evaluation.curves import paired
from xal.report.maps import write_maps
from xal.report.reproduction import write_results
from xal.store.run import read_run


def runs(tmp_path: Path) -> Path:
    recipe = small(
        write_pool(tmp_path / "pool"),
        pool={"test": str(write_pool(tmp_path / "test", 60, seed=1))},
        strategy=None,
        arms={"entropy": "entropy", "random": "random"},
        seeds=[0, 1, 2],
        explainer="gradient_shap",
        budget={"rounds": 1},
    )
    run_experiment(recipe, tmp_path / "runs", Reporter(quiet=True))
    return tmp_path / "runs"


def studies(tmp_path: Path, **study: Any) -> Path:
    whole = {"title": "One: q = 1", "runs": str(tmp_path / "runs"), "command": "xal run one.yaml"} | study
    path = tmp_path / "results.yaml"
    path.write_text(yaml.safe_dump({"introduction": "Said first.", "studies": [whole]}))
    return path


def test_results(tmp_path: Path) -> None:
    said: list[str] = []
    runs(tmp_path)
    claims = ["entropy > random", "random > entropy"]
    source = studies(
        tmp_path, paper={"entropy": 0.75}, claims=claims, besides=["random > entropy"], remarks="Said last."
    )
    page = write_results(source, tmp_path / "out" / "page.md", "this test", said.append)
    text = page.read_text()
    ends = {arm: [read_run(tmp_path / "runs" / f"{arm}-seed{s}").curve()[1][-1] for s in range(3)] for arm in ARMS}
    difference = paired(ends["entropy"], ends["random"])
    row = next(line for line in text.splitlines() if line.startswith("| entropy |"))
    assert row.split(" | ")[1].startswith(f"{sum(ends['entropy']) / 3:.4f} ±") and row.split(" | ")[2] == "0.7500"
    assert row.split(" | ")[3] == difference.signed()
    assert (
        text.index("Said first.")
        < text.index("## What does not reproduce")
        < text.index("## One")
        < text.index("Said last.")
    )
    holding = [f"| {claim} |" in text.split("## One")[0] for claim in claims]
    assert text.index("| asked besides |") > text.index("## One")
    certain = abs(difference.mean) > difference.half
    assert holding.count(True) == (1 if certain else 2)  # all but the one that holds, if one does
    assert (tmp_path / "out" / "page-one-q-1.svg").read_text().startswith("<svg")
    stored = json.loads((tmp_path / "out" / "page.json").read_text())
    assert stored["One: q = 1"]["curves"]["accuracy"]["random"]["2"][1][-1] == ends["random"][2]
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    assert write_results(source, page, "this test", said.append).read_text() == text
    assert said == [f"One: q = 1: no runs in {tmp_path / 'runs'}, as measured before"]


ARMS = ("entropy", "random")


def test_bad_studies(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    with pytest.raises(RunError, match="never run:\n  - One: q = 1: no runs in .*; xal run one.yaml"):
        write_results(studies(tmp_path), page, "this test", print)
    with pytest.raises(ConfigError, match="expected `arm > arm` or `arm < arm`, got 'entropy is best'"):
        write_results(studies(tmp_path, claims=["entropy is best"]), page, "this test", print)
    runs(tmp_path)
    wrong = studies(tmp_path, claims=["margin > random"], paper={"alex": 0.5}, pictures=["none.png"])
    with pytest.raises(ConfigError) as raised:
        write_results(wrong, page, "this test", print)
    assert [line.split("; ")[0] for line in raised.value.problems] == [
        "One: q = 1: its runs have no arm 'alex'",
        "One: q = 1: its runs have no arm 'margin'",
        f"One: q = 1: no file {tmp_path / 'none.png'}",
    ]
    with pytest.raises(ConfigError, match="One: q = 1: its runs have no arm 'nobody'"):
        write_results(studies(tmp_path, against="nobody"), page, "this test", print)
    unknown = studies(tmp_path, besides_measure=["explanation_f1"])
    with pytest.raises(
        ConfigError, match="One: q = 1: its runs did not measure explanation_f1; all runs measure accuracy"
    ):
        write_results(unknown, page, "this test", print)
    (tmp_path / "nothing.yaml").write_text("studies: []\n")
    with pytest.raises(ConfigError, match="names none"):
        write_results(tmp_path / "nothing.yaml", page, "this test", print)
    with pytest.raises(ConfigError, match="cannot be read"):
        write_results(tmp_path / "none.yaml", page, "this test", print)
    assert not page.exists()


def test_measures_of_other_steps_and_claims_of_less(tmp_path: Path) -> None:
    runs(tmp_path)
    (tmp_path / "more.md").write_text("| a | table |\n")
    source = studies(
        tmp_path,
        measure="log_loss",
        against="entropy",
        besides_measure=["train.train_accuracy"],
        claims=["entropy < random", "random < entropy", "entropy > random in accuracy"],
        tables=["more.md"],
    )
    text = write_results(source, tmp_path / "page.md", "this test", print).read_text()
    found = {arm: [read_run(tmp_path / "runs" / f"{arm}-seed{s}") for s in range(3)] for arm in ARMS}
    losses = {arm: [run.of("evaluate")[1].metrics["log_loss"] for run in each] for arm, each in found.items()}
    difference = paired(losses["random"], losses["entropy"])
    row = next(line for line in text.splitlines() if line.startswith("| random |"))
    assert row.split(" | ")[2] == difference.signed() and "against entropy" in text and "| a | table |" in text
    trained = [run.of("train")[1].metrics["train_accuracy"] for run in found["random"]]
    row = next(line for line in text.splitlines() if line.startswith("| train accuracy | random |"))
    assert row.split(" | ")[2].startswith(f"{sum(trained) / 3:.4f}")
    verdicts = [line.split(" | ")[2].rstrip(" |") for line in text.split("## One")[1].splitlines() if " < " in line]
    certain = abs(difference.mean) > difference.half
    assert sorted(verdicts) == (["holds", "the opposite"] if certain else ["not told apart"] * 2)
    assert f"| {paired(*[[r.curve()[1][-1] for r in found[a]] for a in ARMS]).signed()} |" in text


def test_maps(tmp_path: Path) -> None:
    folder = runs(tmp_path)
    explained = {arm: explain_labelled(folder / f"{arm}-seed0", 30) for arm in ARMS}
    with Image.open(write_maps(explained, tmp_path / "maps.png")) as picture:
        assert picture.width > 300 and len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 50
