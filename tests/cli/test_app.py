"""The command line as a user meets it: the file annotator's round trip, and every mistake without a traceback."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from tests.recipes import CLASSES, RUN, labels_of, small, text_pool, write_pool, write_recipe, xal
from xal.campaign.recipe import load
from xal.explainers.shap_partition import ShapPartition


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
    assert "5 new labels taken; waiting for 7 more" in capsys.readouterr().out
    assert xal("run", recipe, "--out", runs, "-q", monkeypatch=monkeypatch) == 0
    assert "waiting for 7 labels" in capsys.readouterr().out
    other = next(name for name in CLASSES if name != rows[0]["label"])
    assert xal("label", runs, write("conflict.csv", [rows[0] | {"label": other}]), monkeypatch=monkeypatch) == 2
    assert f"'{rows[0]['id']}' is labelled '{rows[0]['label']}' already, now '{other}'" in capsys.readouterr().err
    assert xal("label", runs, write("all.csv", rows), monkeypatch=monkeypatch) == 0
    assert "7 new labels taken; that is all" in capsys.readouterr().out

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
    assert (
        "is the image that is explained; choose another" in capsys.readouterr().err and images[0].read_bytes() == photo
    )
    assert xal("explain", runs, images[0], "--out", tmp_path / "why.html", monkeypatch=monkeypatch) == 2
    assert "a picture is written; end it with .png" in capsys.readouterr().err


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


def test_recipes_of_texts_need_name_no_explainer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pool, recipe = text_pool(tmp_path / "pool.parquet", 60, 0), tmp_path / "recipe.yaml"
    given = {
        "pool": {"source": str(pool)}, "model": {"name": "linear_svm", "encoder": "tfidf", "C": [1.0]},
        "strategy": "random", "budget": {"initial": 20, "per_round": 5, "rounds": 1}, "engine": "serial",
    }  # fmt: skip
    recipe.write_text(yaml.safe_dump(given))
    assert load(recipe).explainer == ShapPartition()
    runs = tmp_path / "runs"
    assert xal("run", recipe, "--out", runs, "-q", monkeypatch=monkeypatch) == 0
    recipe.write_text(yaml.safe_dump(given | {"model": "linear_svm"}))
    assert xal("validate", recipe, monkeypatch=monkeypatch) == 2
    assert "takes features, the pool holds text; give it an encoder, such as tfidf" in capsys.readouterr().err
    search = given | {"strategy": "alex", "search": {"space": {"explainer.max_evals": {"low": 2, "high": 9}}}}
    recipe.write_text(yaml.safe_dump(search))
    assert xal("tune", recipe, "--out", runs, monkeypatch=monkeypatch) == 2
    assert "holds runs; choose another --out for the search" in capsys.readouterr().err
    (tmp_path / "tune").mkdir()
    (tmp_path / "tune" / "search.yaml").write_text("{}")
    recipe.write_text(yaml.safe_dump(given))
    assert xal("run", recipe, "--out", tmp_path / "tune", monkeypatch=monkeypatch) == 2
    assert "holds a search; choose another --out for the runs" in capsys.readouterr().err


def test_the_list_names_sections_and_components(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert xal("list", monkeypatch=monkeypatch) == 0
    out = "".join(capsys.readouterr().out.split())
    assert all(
        each in out
        for each in ("per_round=100", "plateau_factor=0.1", "stop_early=True", "evaluate_explanations=0", "max_evals")
    )
