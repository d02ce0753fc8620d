"""What strangers met on their first day, as they met it; each was wrong, silent or a traceback once."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.recipes import xal
from xal.data.pool import Pool

Call = Callable[..., str]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command in an empty folder; returns what it showed."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, status: int = 0) -> str:
        assert xal(*arguments, monkeypatch=monkeypatch) == status
        shown = capsys.readouterr()
        return shown.out + shown.err

    return call


def column(path: str, name: str) -> list[object]:
    values: list[object] = Pool.open(path).read_span(0, len(Pool.open(path)), [name])[name].to_pylist()
    return values


def test_a_first_run_without_any_label_says_what_to_do(call: Call) -> None:
    Path("t.csv").write_text("id,text\n" + "".join(f"{i},word{i} {'ab'[i % 2]}\n" for i in range(60)))
    call("init", "t.csv")
    assert "waiting for 6 labels of round 0" in call("run", "recipe.yaml", "-q", "--out", "runs")
    batch = Path("runs/margin-seed0/to-label/round-000/batch.csv")
    rows = list(csv.DictReader(batch.open(encoding="utf-8-sig")))
    Path("answers.csv").write_text("ID;Label\n" + "".join(f"{r['id']};{'ab'[int(r['id']) % 2]}\n" for r in rows))
    told = call("label", "runs/margin-seed0", "answers.csv")
    assert "6 new labels imported; the batch is complete" in told and "new class: 'a'" in told
    Path("late.csv").write_text("id,label\n" + f"{rows[0]['id']},bb\n")
    told = call("label", "runs/margin-seed0", "late.csv", "--correct")
    assert "0 new labels imported, 1 changed" in told
    page = Path(call("report", "runs/margin-seed0").split("report: ")[-1].strip()).read_text()
    assert "1 labels were changed or taken back later" in page and "class added: bb" in page
    Path("wrong.csv").write_text("id,klasse\n1,a\n")
    told = call("label", "runs/margin-seed0", "wrong.csv", status=2)
    assert "expected the columns id and label, got id, klasse" in told


def test_a_misspelt_new_class_is_pointed_out(call: Call) -> None:
    Path("t.csv").write_text("id,text\n" + "".join(f"{i},word{i}\n" for i in range(60)))
    call("init", "t.csv")
    call("run", "recipe.yaml", "-q", "--out", "runs")
    Path("a.csv").write_text("id,label\n1,atheism\n2,religion\n")
    call("label", "runs/margin-seed0", "a.csv")
    Path("b.csv").write_text("id,label\n3,athiesm\n")
    assert "new class: 'athiesm'; did you mean 'atheism'?" in call("label", "runs/margin-seed0", "b.csv")
    assert "1 item is labelled 'athiesm'" in call("classes", "runs/margin-seed0", "remove", "athiesm", status=2)
    Path("c.csv").write_text("id,label\n3,atheism\n")
    assert "1 changed" in call("label", "runs/margin-seed0", "c.csv", "--correct")
    assert "athiesm" not in call("classes", "runs/margin-seed0", "remove", "athiesm")


def test_a_label_of_an_equal_item_is_kept(call: Call) -> None:
    Path("d.csv").write_text("id,text,label\n1,same,\n2,same,a\n2,same,a\n3,x,b\n4,y,a\n5,y,b\n6,y,\n")
    told = call("init", "d.csv", "d.yaml")
    assert "1 items equal an earlier one without a label; both are kept" in told
    assert "conflict: 5 is the same as 4, with another label" in told and "duplicate: 6 is the same as 4" in told
    assert dict(zip(column("d-pool", "id"), column("d-pool", "label"), strict=True)) == {
        "1": None, "2": "a", "3": "b", "4": "a"
    }  # fmt: skip


def test_what_init_leaves_out_is_named(call: Call) -> None:
    Path("photos").mkdir()
    for i in range(4):
        Image.fromarray(np.full((20, 30, 3), i * 60, np.uint8)).save(f"photos/{i}.png")
    Path("photos/broken.jpg").write_bytes(b"\xff\xd8\xff")
    assert "unreadable: broken.jpg: " in call("init", "photos")


def test_points_are_thousands_where_commas_are_decimal_marks(call: Call) -> None:
    Path("t.csv").write_text(
        "id;Preis;Länge;Rate;label\n"
        + "".join(f"{i};1.{200 + i};{i},25;0.{i}5;{'ab'[i % 2]}\n" for i in range(12)),
        encoding="utf-8",
    )  # fmt: skip
    assert "points in Preis are thousands (1.200 is 1200)" in call("init", "t.csv", "t.yaml")
    assert column("t-pool", "features")[1] == pytest.approx([1201, 1.25, 0.15])
    Path("e.csv").write_text("id;Preis;label\n" + "".join(f"{i};1.{200 + i};a\n" for i in range(5)))
    call("init", "e.csv", "e.yaml", status=0)
    assert column("e-pool", "features")[1] == pytest.approx([1.201])
    Path("f.csv").write_text("id;Preis;label\n" + "".join(f"{i};1.200,{i};a\n" for i in range(5)))
    call("init", "f.csv", "f.yaml")
    assert column("f-pool", "features")[3] == pytest.approx([1200.3])


def test_header_names_in_capitals_are_known(call: Call) -> None:
    Path("t.csv").write_text("ID;Text;Label\n007;one;a\n008;two;b\n")
    call("init", "t.csv", "t.yaml")
    assert column("t-pool", "id") == ["007", "008"] and column("t-pool", "label") == ["a", "b"]


def test_columns_that_are_no_numbers_can_be_dropped(call: Call) -> None:
    Path("t.csv").write_text("id,x,date,label\n1,2.5,2026-01-01,a\n2,3.5,2026-01-02,b\n")
    assert "leave out such columns with --drop" in call("init", "t.csv", "t.yaml", status=2)
    assert "no column `when` to drop" in call("init", "t.csv", "t.yaml", "--drop", "when", status=2)
    call("init", "t.csv", "t.yaml", "--drop", "date")
    assert column("t-pool", "features") == [[2.5], [3.5]]


def test_people_see_photos_in_their_own_proportions(call: Call) -> None:
    Path("photos").mkdir()
    for i in range(12):
        Image.fromarray(np.full((300, 600, 3), i * 20, np.uint8)).save(f"photos/{i}.jpg")
    call("init", "photos")
    small = [
        "--set",
        "model.size=16",
        "--set",
        "budget.rounds=1",
        "--set",
        "explainer=null",
        "--set",
        "strategy=margin",
    ]
    call("run", "recipe.yaml", "-q", "--out", "runs", *small)
    pictures = sorted(Path("runs/margin-seed0/to-label/round-000/pictures").iterdir())
    assert pictures and all(Image.open(picture).size == (600, 300) for picture in pictures)
