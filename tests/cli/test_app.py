"""Every mistake of a user ends in a message, never in a traceback."""

from pathlib import Path

import pytest

from tests.recipes import xal


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "absent.yaml"], "cannot be read"),
        (["status", "nowhere"], "holds no run"),
        (["report", "nowhere"], "holds no run"),
        (["label", "nowhere", "x.csv"], "holds no run"),
        (["explain", "nowhere", "x.png"], "holds no run"),
        (["pool", "check", "nowhere"], "nowhere"),
        (["pool", "build", "nowhere", "pool"], "nowhere"),
        (["run", "{recipe}", "--seeds", "4-1"], "expected distinct seeds"),
        (["run", "{recipe}", "--set", "train.epochs"], "expected dotted.path=value"),
        (["run", "{recipe}", "--set", "budget.initial=9000"], "the pool holds 8000"),
        (["run", "{recipe}", "--set", "engine={name: serial, device: cuda}"], "sees no GPU"),
    ],
)
def test_a_mistake_gets_a_message_and_no_traceback(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text("engine: serial\n")
    assert xal(*[part.replace("{recipe}", "recipe.yaml") for part in arguments], monkeypatch=monkeypatch) == 2
    errors = capsys.readouterr().err
    assert message in errors and errors.startswith("error: ") and "Traceback" not in errors
