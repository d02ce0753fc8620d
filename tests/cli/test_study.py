"""`xal study ebano` on a run."""

import json
from pathlib import Path

import pytest

from tests.recipes import CLASSES, small, write_pool, write_recipe, xal


def test_study_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pool, test = write_pool(tmp_path / "pool"), write_pool(tmp_path / "test", n=40, seed=9)
    for name, sections in {"tested": {"pool": {"test": str(test)}}, "untested": {}}.items():
        recipe = write_recipe(tmp_path / f"{name}.yaml", small(pool, budget={"rounds": 1}, **sections))
        assert xal("run", recipe, "--out", tmp_path / name, "--quiet", monkeypatch=monkeypatch) == 0
        capsys.readouterr()
        assert xal("study", "ebano", tmp_path / name, "--items", 30, monkeypatch=monkeypatch) == 0
        out = " ".join(capsys.readouterr().out.split())
        held = next(item for item in out.split() if item.isdecimal())
        on = "30 images of the test pool" if name == "tested" else f"{held} images of the held-out items"
        assert f"{on}, model of round 1" in out and "nPIRP" in out
        folder = tmp_path / name / "ebano_uncertainty-seed0" / "study-ebano"
        found = json.loads((folder / "summary.json").read_text())
        assert found["items"] == int(held) and 0 < int(held) <= (30 if name == "tested" else 10)  # of 20 labelled
        assert 0 <= found["accuracy"] <= 1
        pictures = {path.name for path in folder.glob("*.png")}
        assert {"fmax-distributions.png", "fmax-against-confidence.png", "class-001-light.png"} <= pictures
        assert len(pictures) == 2 + len(CLASSES)
    only = ["--class", "striped", "--out", tmp_path / "one"]
    assert xal("study", "ebano", tmp_path / "tested", *only, monkeypatch=monkeypatch) == 0
    assert [path.name for path in (tmp_path / "one").glob("class-*")] == ["class-002-striped.png"]
    capsys.readouterr()
    assert xal("study", "ebano", tmp_path / "tested", "--class", "stripes", monkeypatch=monkeypatch) == 2
    assert "'stripes' is not a class; did you mean 'striped'?" in capsys.readouterr().err
