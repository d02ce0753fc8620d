"""`xal list`: sections and components with their defaults."""

import pytest

from tests.recipes import xal


def test_the_list_names_sections_and_components(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert xal("list", monkeypatch=monkeypatch) == 0
    out = "".join(capsys.readouterr().out.split())
    assert all(
        each in out
        for each in ("per_round=100", "plateau_factor=0.1", "stop_early=True", "evaluate_explanations=0", "max_evals")
    )


def test_a_family_is_listed_by_its_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert xal("list", "stop", monkeypatch=monkeypatch) == 0
    out = capsys.readouterr().out
    assert "stabilized_predictions" in out and "overall_uncertainty" in out and "margin" not in out
