"""`xal validate`: all mistakes at once, and `--set`."""

from pathlib import Path

import pytest

from tests.recipes import xal

MISTAKES = """
pool: {source: demo}
model: {name: convnett}
train: {epoch: 20, lr: -1}
strategy: {name: ebano_uncertainty, threshold: 5}
budgets: {initial: 100}
"""


def test_five_mistakes_are_five_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(MISTAKES)
    assert xal("validate", recipe, monkeypatch=monkeypatch) == 2
    errors = capsys.readouterr().err
    assert "5 mistakes" in errors and errors.count("\n  - ") == 5 and "Traceback" not in errors
    for part in (
        "model.name: unknown model 'convnett'; did you mean 'convnet'?",
        "train.epoch: unknown field; did you mean 'epochs'?",
        "train.lr: ",
        "strategy.threshold: ",
        "budgets: unknown field; did you mean 'budget'?",
    ):
        assert part in errors


def test_set_overrides_and_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("engine: serial\nstrategy: margin\n")
    settings = ["--set", "budget.rounds=7", "--set", "strategy.name=entropy"]
    assert xal("validate", recipe, *settings, monkeypatch=monkeypatch) == 0
    out = capsys.readouterr().out
    assert "800 labels, arms entropy, engine serial" in " ".join(out.split())
    assert xal("list", monkeypatch=monkeypatch) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("ebano_uncertainty", "late_mix", "torchvision", "oracle", "serial", "ray"))
