"""`xal init`, `xal list NAME`, `xal classes`, `xal ledger`, `xal fork` and `xal export`, as a user meets them."""

import csv
from pathlib import Path

import pytest

from tests.recipes import xal


def posts(path: Path, known: int) -> Path:
    with path.open("w", newline="", encoding="cp1252") as handle:
        writer = csv.writer(handle, delimiter=";")
        writer.writerow(["id ", " text", "label", ""])
        for i in range(120):
            words = "great café" if i % 2 else "dull boring"
            writer.writerow([f"{i:03d}", f'{words} film n{i}; "x"', ("bad", "good")[i % 2] if i < known else "", ""])
    return path


def test_from_a_spreadsheet_to_predictions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, status: int = 0) -> str:
        assert xal(*arguments, monkeypatch=monkeypatch) == status
        shown = capsys.readouterr()
        return shown.out + shown.err

    assert "Windows-1252" in call("init", posts(tmp_path / "posts.csv", 12))
    assert "exists" in call("init", "posts.csv", status=2)
    assert "valid. 120 items, 2 classes" in call("validate", "recipe.yaml")
    assert "waiting for 10 labels" in call("run", "recipe.yaml", "-q", "--out", "runs")
    run = Path("runs/margin-seed0")
    rows = list(csv.DictReader((run / "to-label/round-000/batch.csv").open(encoding="utf-8")))
    answers = [{"id": row["id"].lstrip("0") or "0", "label": ("bad", "good")[int(row["id"]) % 2]} for row in rows]
    answers[0]["label"] = "skip"
    with Path("back.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, ["id", "label"], delimiter=";")
        writer.writeheader()
        writer.writerows(answers)
    assert "9 new labels imported, 1 left out (skip, unsure or none); the batch is complete" in call(
        "label", run, "back.csv"
    )
    assert call("classes", run, "add", "mixed").split() == ["bad", "good", "mixed"]
    assert "waiting for 10 labels" in call("run", "recipe.yaml", "-q", "--out", "runs", "--set", "budget.rounds=7")
    assert "22 rows in labels.csv" in call("export", run, "labels")
    text = Path("labels.csv").read_text(encoding="utf-8-sig")
    assert '"skip"' in text and text.startswith('"id","label"')
    assert 'xal.load_model("model")' in call("export", run, "model")
    assert "copied to copy.sqlite" in call("ledger", "backup", run, "copy.sqlite")
    (run / "ledger.sqlite").unlink()
    assert "xal ledger restore" in call("run", "recipe.yaml", "-q", "--out", "runs", status=2)
    assert "restored, with 22 answers" in call("ledger", "restore", run)
    other = ["--set", "model=logistic_regression", "--set", "model.encoder=tfidf"]
    assert "xal fork" in call("run", "recipe.yaml", "-q", "--out", "runs", *other, status=2)
    assert "starts from the labels" in call("fork", run, "forked", "recipe.yaml", *other)
    assert "waiting for 10 labels" in call("run", "recipe.yaml", "-q", "--out", "forked", *other)


def test_a_component_is_explained(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert xal("list", "threshold", monkeypatch=monkeypatch) == 0
    shown = capsys.readouterr().out
    assert "above" in shown and "Items that score this or less are not queried." in shown
    assert xal("list", "treshold", monkeypatch=monkeypatch) == 2
    assert "did you mean 'threshold'?" in capsys.readouterr().err
