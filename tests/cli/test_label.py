"""`xal run`, `xal label`, `xal status` and `xal explain` with a file annotator, as a user meets them."""

import csv
import json
from pathlib import Path

import pytest

from tests.recipes import CLASSES, RUN, labels_of, small, write_pool, write_recipe, xal


def test_file_annotator_round_trip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = write_pool(tmp_path / "pool")
    label_of = labels_of(pool)
    blind = write_pool(tmp_path / "blind", label=None)
    recipe = write_recipe(
        tmp_path / "recipe.yaml",
        small(blind, annotator="file", pool={"classes": list(CLASSES)}, budget={"rounds": 1}),
    )
    runs = tmp_path / "runs"
    run = runs / RUN
    assert xal("run", recipe, "--out", runs, "-q", monkeypatch=monkeypatch) == 0
    assert "waiting for 12 labels" in capsys.readouterr().out
    batch = run / "to-label" / "round-000" / "batch.csv"
    rows = list(csv.DictReader(batch.open()))
    assert len(rows) == 12 and all((batch.parent / row["image"]).is_file() for row in rows)
    for row in rows:
        row["label"] = label_of[row["id"]]

    def write(name: str, part: list[dict[str, str]]) -> Path:
        path = tmp_path / name
        with path.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows(part)
        return path

    bad = [dict(row) for row in rows]
    bad[0]["label"], bad[1]["label"], bad[2]["id"] = "drak", "sunny", "item-9999"
    assert xal("label", run, write("bad.csv", bad), monkeypatch=monkeypatch) == 2
    errors = capsys.readouterr().err
    assert "3 problems, nothing was imported" in errors and "Traceback" not in errors
    assert "'drak' is not a class; did you mean 'dark'?" in errors and "'item-9999' was not queried" in errors
    assert xal("status", runs, monkeypatch=monkeypatch) == 0
    assert "waiting for 12" in " ".join(capsys.readouterr().out.split())

    assert xal("label", runs, write("part.csv", rows[:5]), monkeypatch=monkeypatch) == 0
    assert "5 new labels imported; waiting for 7 more" in capsys.readouterr().out
    assert xal("run", recipe, "--out", runs, "-q", monkeypatch=monkeypatch) == 0
    assert "waiting for 7 labels" in capsys.readouterr().out
    other = next(name for name in CLASSES if name != rows[0]["label"])
    assert xal("label", runs, write("conflict.csv", [rows[0] | {"label": other}]), monkeypatch=monkeypatch) == 2
    assert f"'{rows[0]['id']}' is labelled '{rows[0]['label']}' already, now '{other}'" in capsys.readouterr().err
    assert xal("label", runs, write("all.csv", rows), monkeypatch=monkeypatch) == 0
    assert "7 new labels imported; the batch is complete" in capsys.readouterr().out

    assert xal("run", recipe, "--out", runs, "-q", monkeypatch=monkeypatch) == 0
    assert "waiting for 8 labels" in capsys.readouterr().out
    folder = run / "to-label" / "round-001"
    lines = [json.loads(line) for line in (folder / "batch.jsonl").read_text().splitlines()]
    assert len(lines) == 8
    for line in lines:
        assert line["prediction"] in CLASSES and 0 < line["confidence"] <= 1 and line["reason"]
        assert (folder / line["explanation"]).read_bytes().startswith(b"\x89PNG")
    answers = tmp_path / "answers.jsonl"
    answers.write_text("".join(json.dumps({"id": line["id"], "label": label_of[line["id"]]}) + "\n" for line in lines))
    assert xal("label", runs, answers, monkeypatch=monkeypatch) == 0
    assert xal("run", recipe, "--out", runs, "-q", monkeypatch=monkeypatch) == 0
    assert "finished" in capsys.readouterr().out

    page = (runs / "report.html").read_text()
    assert page.count("data:image/png;base64") == 8 * 3 and "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "<script" not in page  # self-contained
    images = sorted((folder / "pictures").glob("*.png"))
    assert xal("explain", runs, images[0], "--out", tmp_path / "why.png", monkeypatch=monkeypatch) == 0
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG") and "nPIR" in capsys.readouterr().out
    photo = images[0].read_bytes()
    assert xal("explain", runs, images[0], "--out", images[0], monkeypatch=monkeypatch) == 2
    assert "is the image to explain; choose another" in capsys.readouterr().err and images[0].read_bytes() == photo
    assert xal("explain", runs, images[0], "--out", tmp_path / "why.html", monkeypatch=monkeypatch) == 2
    assert "expected a name that ends with .png" in capsys.readouterr().err
